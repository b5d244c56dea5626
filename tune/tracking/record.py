"""Keeping MLflow up to date with a study while it is searched."""

from __future__ import annotations

import logging
import time
from typing import Self

import yaml

from refkd.data.dataset import Dataset
from refkd.files import replaced
from tune.config.study_file import StudyFile
from tune.study.locate import place_of
from tune.study.search_study import SearchStudy
from tune.tracking.delivery import Delivered, Delivery, Source
from tune.tracking.reach import check_start
from tune.tracking.source import StudySource
from tune.tracking.target import Target, target_of

CLOSE_SECONDS = 30.0
"""How long the end of a launch waits for the tracking server."""
STRUGGLING_SHARE = 0.01
"""Part of a launch that its end waits at most for a server that is down or slow."""
_log = logging.getLogger(__name__)


class Record:
    """Keeps MLflow up to date, in a thread that reads the storage, while a driver is at work."""

    def __init__(self, file: StudyFile) -> None:
        self._file = file
        self._delivery: Delivery | None = None
        self._at_work = True
        self._begun = time.monotonic()
        self.delivery = Delivered()
        """What had not reached MLflow at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._at_work = False
        if self._delivery is not None:
            struggling = STRUGGLING_SHARE * (time.monotonic() - self._begun)
            self.delivery = self._delivery.close(CLOSE_SECONDS, struggling=struggling)
            warn_of(self.delivery, self._delivery.target)

    def study_started(self, study: SearchStudy, dataset: Dataset) -> None:
        """Write the study file as it is now beside the study, and begin to send."""
        path = self._file.folder / "study.yaml"
        settings = self._file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        with replaced(path) as temporary:
            temporary.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")

        def open_source() -> Source:
            own = study.apart()
            return StudySource(
                self._file, own, dataset, lambda: self._at_work, study.holder.driver
            ).news

        target = target_of(self._file, study.identity()) if self._file.tracking.enabled else None
        if target is not None:
            self._delivery = Delivery(target, open_source)

    def wake(self, *_: object, **__: object) -> None:
        """Say that the study holds something new, whatever it is: the thread reads it there."""
        if self._delivery is not None:
            self._delivery.wake()


def check_record(file: StudyFile) -> str | None:
    """Return a sentence where a study's record cannot be kept now; raises as `check_start`."""
    place = place_of(file)
    return check_start(place.storage, place.tracking) if file.tracking.enabled else None


def warn_of(delivery: Delivered, target: Target) -> None:
    """Log what did not reach MLflow, and what becomes of it."""
    if delivery.left:
        _log.warning(
            "%d events did not reach MLflow (%s); the study keeps them and the next run of the "
            "same command sends them",
            delivery.left,
            delivery.problem,
        )
    if delivery.refused:
        _log.warning("MLflow refused %d events: see %s", delivery.refused, target.refused)
