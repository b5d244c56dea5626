"""The delivery of a driver's record, passed through once whenever the storm says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tune.config.study_file import StudyFile
from tune.study.stored_study import StoredStudy
from tune.tracking.delivery import Delivery, Source
from tune.tracking.source import StudySource
from tune.tracking.target import Target, target_of
from tune.tracking.writer import Writer


class IdleError(BaseException):
    """The thread would wait for news."""


class Wake:
    """In the place of an event that a thread waits for."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Let the next `wait` return."""
        self._is_set = True

    def clear(self) -> None:
        """Let the next `wait` end the pass."""
        self._is_set = False

    def wait(self) -> None:
        """Return at once, or end the pass."""
        if not self._is_set:
            raise IdleError


class NoThread:
    """In the place of a thread: what it would do is called where the storm wants it."""

    def __init__(self, **_: Any) -> None: ...

    def start(self) -> None:
        """Begin nothing."""

    def join(self) -> None:
        """Wait for nothing."""


@dataclass(frozen=True, kw_only=True)
class Remembering(Target):
    """A target that keeps its writer from pass to pass, as the thread does."""

    made: list[Writer] = field(default_factory=list)

    def writer(self) -> Writer:
        """Connect at the first call."""
        if not self.made:
            self.made.append(super().writer())
        return self.made[0]


class Tracking:
    """The delivery of one launch."""

    def __init__(self, file: StudyFile, study: StoredStudy, at_work: Callable[[], bool]) -> None:
        plain = target_of(file, study.identity())
        assert plain is not None
        self._new = lambda: StudySource(file, study.apart(), None, at_work, study.holder.driver)
        self._source: StudySource | None = None
        self._opened = 0
        self.target = Remembering(**vars(plain))
        self.delivery = Delivery(self.target, self._open)
        self.delivery._wake = Wake()  # type: ignore[assignment]

    def send(self, *, closing: bool = False) -> None:
        """Send what is new; while the launch goes on an outage is sat out."""
        self._opened = 0
        if closing:
            self.delivery._closing.set()
        self.delivery.wake()
        try:
            self.delivery._run()
        except IdleError:
            return

    def stop(self) -> None:
        """Give up: the process is killed."""
        self.delivery._given_up.set()

    def _open(self) -> Source:
        """Return the thread's own source at the begin of a pass, and a new one if asked again."""
        self._opened += 1
        if self._source is None or self._opened > 1:
            self._source = self._new()
        return self._source.news
