"""Sending to MLflow what a study holds and its server lacks: `refkd sync`."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from refkd.errors import RefKDError
from tune.study.home import check_own
from tune.study.lease import lease
from tune.study.snapshot import open_snapshot
from tune.study.storage import to_be_continued
from tune.study.stored_study import StoredStudy
from tune.tracking.delivery import Delivered, Delivery, Source
from tune.tracking.reach import AwayError, asked, check
from tune.tracking.source import StudySource
from tune.tracking.target import client_settings, target_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Synced(Delivered):
    """What `sync` has sent."""

    study: str
    server: str
    """Without its password."""
    refused_file: str
    """The file of refused operations of all times, with the reasons."""


def sync(study: Path, *, everything: bool = False) -> Synced:
    """Send what a study holds and its server lacks; `everything` sends all of it again."""
    opened = open_snapshot(study)
    file, url = opened.file, opened.place.storage
    if not file.tracking.enabled:
        raise RefKDError(f"{study}: tracking is off (tracking.enabled), so nothing waits")
    spec = file.search_spec()
    with lease(url, file.name, signs=spec.signs), client_settings(), to_be_continued():
        check_own(file, opened.attributes)
        stored = StoredStudy(spec, url)
        target = target_of(file, stored.identity())
        assert target is not None, "tracking is on"

        def open_source() -> Source:
            return StudySource(file, stored.apart(), holder=stored.holder.driver).news

        cursor = target.cursor()
        if everything:
            cursor.clear()
        waiting = cursor.pending(open_source()())
        try:
            with asked(target.uri):
                check(target.uri, write=True)
                if not waiting:
                    cursor.enter(target.writer().experiment)
        except AwayError as away:  # asked once: whoever waits can run the command again
            done = Delivered(left=len(waiting), problem=str(away))
        else:
            if everything:
                target.refused.unlink(missing_ok=True)
            done = _sent(Delivery(target, open_source, cursor))
    server, refused = str(target.uri), str(target.refused)
    return Synced(study=file.name, server=server, refused_file=refused, **asdict(done))


def _sent(delivery: Delivery) -> Delivered:
    try:
        return delivery.close(threading.TIMEOUT_MAX)
    except KeyboardInterrupt:  # the rest is left to the next call
        delivery.close(0)
        raise
