"""Sending later what the tracking server could not take while a search ran."""

from __future__ import annotations

import threading
from pathlib import Path

from mlflow.exceptions import MlflowException
from requests import RequestException

from refkd.config import Config
from refkd.errors import RefKDError
from tune.config.study_file import StudyFile
from tune.config.urls import without_password
from tune.study.lease import lease
from tune.study.snapshot import open_snapshot
from tune.study.stored_study import StoredStudy
from tune.tracking.delivery import REFUSED, Delivered, Delivery
from tune.tracking.source import StudySource, found_on_disk
from tune.tracking.target import Target, client_settings, target_of


class Synced(Config):
    """What became of the events that waited."""

    study: str
    server: str
    """Without its password."""
    sent: int
    left: int
    """Not there yet; the next call or launch sends them."""
    refused: int
    """Put aside, since the server will never take them."""
    problem: str | None
    """Why events are left."""
    refused_file: str
    """Where refused events of all times lie, with the reasons."""


def sync(study: Path, *, everything: bool = False) -> Synced:
    """Send what a study holds and its tracking server lacks, until all is there or it is down.

    Nothing is sent twice to a server's harm, however often this is called. `everything` sends all
    of it again, what was refused too, such as after a server was mended. Raises
    `RefKDError` where tracking is off, `NoStudyError` where the study was not begun, `LeaseError`
    where a driver is at work: it sends by itself.
    """
    opened = open_snapshot(study)
    file, url = opened.file, opened.place.storage
    if not file.tracking.enabled:
        raise RefKDError(f"{study}: tracking is off (tracking.enabled), so nothing waits")
    with lease(url, file.name, objectives=len(file.objectives)), client_settings():
        stored = StoredStudy(file, url)
        target = target_of(file, stored.identity())
        assert target is not None, "tracking is on"
        return _send(file, stored, target, everything)


def _send(file: StudyFile, study: StoredStudy, target: Target, everything: bool) -> Synced:
    cursor, refused = target.cursor(), target.folder / REFUSED
    made = found_on_disk(file, study.optuna.user_attrs)

    def source() -> StudySource:
        return StudySource(file, study.apart(), lambda: made)

    if everything:
        cursor.clear()
        refused.unlink(missing_ok=True)
    elif not cursor.pending(source().news()) and _is_lost(target):
        cursor.clear()
    done = _wait(target.delivery(source, cursor))
    return Synced(
        study=file.name,
        server=without_password(target.uri),
        sent=done.sent,
        left=done.left,
        refused=done.rejected,
        problem=done.problem,
        refused_file=str(refused),
    )


def _is_lost(target: Target) -> bool:
    """Return whether a server answers and has not the experiment."""
    try:
        return target.writer().is_new
    except (MlflowException, RequestException):  # down, and nothing waits for it
        return False


def _wait(delivery: Delivery) -> Delivered:
    """Wait until all is sent or the server is given up; Ctrl-C leaves the rest."""
    try:
        return delivery.close(threading.TIMEOUT_MAX)
    except KeyboardInterrupt:
        return delivery.close(0)
