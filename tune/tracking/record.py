"""A launch beside which MLflow is kept up to date, without ever waiting for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import yaml

from refkd.data.dataset import Dataset
from refkd.files import replaced
from refkd.training.teacher import Teacher
from tune.config.study_file import StudyFile
from tune.study.search_study import SearchStudy, TrialRequest
from tune.tracking.delivery import REFUSED, Delivered, Delivery
from tune.tracking.projection import Made
from tune.tracking.source import StudySource, found_on_disk
from tune.tracking.target import Target, client_settings, target_of

CLOSE_SECONDS = 30.0
"""How long the end of a launch waits for the tracking server."""
STRUGGLING_SHARE = 0.01
"""Part of a launch that its end waits longer, at most, for a server that is down or slow."""
_log = logging.getLogger(__name__)


class Record:
    """Keeps MLflow up to date with a study while a driver is at work.

    What happened is read from the study's storage by a thread; a listener's calls only say that
    there is something to read. What an earlier launch left unsent is sent as well.
    """

    def __init__(self, file: StudyFile) -> None:
        self._file = file
        self._target: Target | None = None
        self._delivery: Delivery | None = None
        self._at_work = True
        self._begun = time.monotonic()
        self._settings = ExitStack()
        self._made = Made(workspace=file.workspace)
        self.delivery = Delivered()
        """What had not reached MLflow at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._at_work = False
        if self._delivery is None or self._target is None:
            return
        struggling = STRUGGLING_SHARE * (time.monotonic() - self._begun)
        with self._settings:
            self.delivery = self._delivery.close(CLOSE_SECONDS, struggling=struggling)
        warn_of(self.delivery, self._target)

    def study_started(self, study: SearchStudy, dataset: Dataset) -> None:
        """Write the study file as it is now beside the study, and begin to send."""
        path = self._file.folder / "study.yaml"
        settings = self._file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        with replaced(path) as temporary:
            temporary.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        self._made = found_on_disk(self._file, study.optuna.user_attrs, dataset)
        if not self._file.tracking.enabled:
            return
        self._target = target_of(self._file, study.identity())
        assert self._target is not None
        self._settings.enter_context(client_settings())

        def source() -> StudySource:
            return StudySource(
                self._file, study.apart(), lambda: self._made, lambda: self._at_work
            )

        self._delivery = self._target.delivery(source)

    def teachers_ready(self, teachers: Mapping[str, Teacher]) -> None:
        """Send what the teachers came to, and from now on what students are made of.

        A teacher is sent once it is frozen, whichever launch trained it.
        """
        dataset = self._made.dataset
        self._made = Made(workspace=self._file.workspace, dataset=dataset, teachers=dict(teachers))
        self.wake()

    def wake(self) -> None:
        """Say that the study holds something new."""
        if self._delivery is not None:
            self._delivery.wake()

    def trial_started(self, ask: TrialRequest) -> None:
        """Say that a trial was begun."""
        self.wake()

    def epoch_ended(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Say that an epoch was stored."""
        self.wake()

    def trial_ended(self, number: int, state: str, reason: str | None) -> None:
        """Say that a trial has an outcome."""
        self.wake()


def warn_of(delivery: Delivered, target: Target) -> None:
    """Log what did not reach MLflow, and what becomes of it."""
    if delivery.left:
        _log.warning(
            "%d events did not reach MLflow (%s); the study keeps them and the next run of the "
            "same command sends them",
            delivery.left,
            delivery.problem,
        )
    if delivery.rejected:
        refused = target.folder / REFUSED
        _log.warning("MLflow refused %d events: see %s", delivery.rejected, refused)
