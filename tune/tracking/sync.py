"""Sending later what the tracking server could not take while a search ran."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from mlflow.exceptions import MlflowException
from requests import RequestException

from refkd.config import Config
from refkd.errors import RefKDError
from tune.config.study_file import StudyFile
from tune.config.urls import without_password
from tune.study.lease import lease
from tune.study.snapshot import open_snapshot
from tune.tracking.courier import Courier, Delivery
from tune.tracking.record import artifact_root, experiment_name, spool_folder, tracking_uri
from tune.tracking.sender import Sender
from tune.tracking.spool import Spool
from tune.tracking.tracker import client_settings, owner_of, target_of


class Synced(Config):
    """What became of the events that waited."""

    study: str
    server: str
    """Without its password."""
    sent: int
    left: int
    """Still in the spool; the next call or launch sends them."""
    refused: int
    """Put aside, since the server will never take them."""
    problem: str | None
    """Why events are left."""
    refused_file: str
    """Where refused events of all times lie, with the reasons."""


def sync(study: Path, *, everything: bool = False) -> Synced:
    """Send a study's spool to its tracking server until it is empty or the server is down.

    Nothing is sent twice to a server's harm, however often this is called. `everything` sends all
    that was ever told again, refused events too, such as after a server was mended. Raises
    `RefKDError` where tracking is off, `NoStudyError` where the study was not begun, `LeaseError`
    where a driver is at work: it sends by itself.
    """
    opened = open_snapshot(study)
    file, uri = opened.file, tracking_uri(opened.file)
    if uri is None:
        raise RefKDError(f"{study}: tracking is off (tracking.enabled), so nothing waits")
    with (
        lease(opened.place.storage, file.name, objectives=len(file.objectives)),
        client_settings(),
    ):
        return _drain(file, uri, everything)


def _drain(file: StudyFile, uri: str, everything: bool) -> Synced:
    spool, experiment = Spool(spool_folder(file)), experiment_name(file)
    target, owner = target_of(uri, experiment), owner_of(spool, file.name)
    senders: list[Sender] = []

    def connect() -> Sender:
        senders.append(Sender(uri, experiment, owner=owner, artifact_root=artifact_root(file)))
        return senders[-1]

    if everything:
        spool.set_mark(target, 0)
        spool.rejected.unlink(missing_ok=True)
    elif not spool.read(spool.mark(target)):
        _start_over_if_lost(spool, target, connect)
    begun = spool.mark(target)
    delivery = _wait(Courier(spool, target, connect))
    if any(sender.is_new for sender in senders):
        begun = 0
    taken = len(spool.read(begun, size=-1)) - delivery.left
    return Synced(
        study=file.name,
        server=without_password(uri),
        sent=taken - delivery.rejected,
        left=delivery.left,
        refused=delivery.rejected,
        problem=delivery.problem,
        refused_file=str(spool.rejected),
    )


def _start_over_if_lost(spool: Spool, target: str, connect: Callable[[], Sender]) -> None:
    """Where everything was sent: send it again to a server that has lost the experiment."""
    try:
        lost = connect().is_new
    except (MlflowException, RequestException):  # down, and nothing waits for it
        return
    if lost:
        spool.set_mark(target, 0)


def _wait(courier: Courier) -> Delivery:
    """Wait until the spool is empty or the courier gives up; Ctrl-C leaves the rest."""
    try:
        return courier.close(threading.TIMEOUT_MAX)
    except KeyboardInterrupt:
        return courier.close(0)
