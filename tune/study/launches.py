"""Launches: each run of a driver on a study, with the space, epochs and seed it had."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tune.spec.limits import Limits

if TYPE_CHECKING:
    import optuna

    from tune.spec.space import Value
    from tune.spec.study_file import StudyFile

LAUNCH = "launch:"
TOUCH = 20.0
"""A launch that is killed has worked that much longer than is known, at most."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One run of the driver, as the study holds it; times are seconds since 1970."""

    number: int
    begun: float
    last: float
    """When it was last known to work."""
    file: dict[str, Any]
    """The study file as it was."""
    nodes: list[dict[str, Any]] = field(default_factory=list)
    """Machines that were there meanwhile: `type`, `cpu`, `gpu`, `seconds`."""

    @property
    def epochs(self) -> int:
        """E of its students."""
        return int(self.file["training"]["epochs"])

    @property
    def limits(self) -> Limits:
        """What its search might use."""
        return Limits.of(self.file)

    def study_file(self) -> StudyFile:
        """Return the study file as it was, checked again."""
        from tune.spec.study_file import StudyFile

        return StudyFile.model_validate(self.file)


class Launches:
    """All launches of a study, and the one that this driver is."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self.number = 0
        self.clock = time.time
        """Seconds since 1970; a simulation has its own."""
        self.census: Callable[[], list[dict[str, Any]]] = list
        """The machines at work; none where the driver has no cluster."""
        self._touched: float | None = None  # until a launch begins here
        self._facts: dict[str, Any] = {}

    def begin(self, file: StudyFile) -> Launch:
        """Record this driver's launch."""
        self.number = max((launch.number for launch in self.all()), default=0) + 1
        now = self._touched = self.clock()
        facts: dict[str, Any] = {
            "begun": now,
            "last": now,
            "file": file.model_dump(mode="json", by_alias=True),
        }
        self._facts = facts
        self._study.set_user_attr(_key(self.number), facts)
        return Launch(number=self.number, **facts)

    @contextmanager
    def counting(self, census: Callable[[], list[dict[str, Any]]]) -> Iterator[None]:
        """Note the machines at work, at each touch, while the body runs and at its end."""
        self.census = census
        self.touch()
        try:
            yield
        finally:
            self.touch()
            held = self._facts["nodes"]
            self.census = lambda: held

    def touch_sometimes(self) -> None:
        """Note that the driver still works, but not more often than once in `TOUCH` seconds."""
        if self._touched is not None and self.clock() - self._touched >= TOUCH:
            self.touch()

    def touch(self) -> None:
        """Note that the driver still works; the wall time of the budget is counted up to here."""
        now = self._touched = self.clock()
        self._facts = {**self._facts, "last": now, "nodes": self.census()}
        self._study.set_user_attr(_key(self.number), self._facts)

    def all(self) -> list[Launch]:
        """Return every launch, the first one first."""
        return read_launches(self._study.user_attrs)

    def first(self) -> Launch | None:
        """Return the launch that began the study; None before it."""
        return next(iter(self.all()), None)

    def once_fixed(self, names: Iterable[str], values: Mapping[str, Value]) -> dict[str, Value]:
        """Return what keys that `values` lack were while they were no part of the space.

        A trial that was begun before a key was searched was trained with its fixed value.
        """
        found: dict[str, Value] = {}
        for launch in self.all():
            fixed = launch.study_file().fixed()
            for name in names:
                if name not in values and name in fixed:
                    found.setdefault(name, fixed[name])
        return found

    def wall_seconds(self) -> float:
        """Return how long drivers have been at work, this one until now."""
        return sum(
            (self.clock() if launch.number == self.number else launch.last) - launch.begun
            for launch in self.all()
        )


def read_launches(attributes: Mapping[str, Any]) -> list[Launch]:
    """Return the launches among a study's attributes."""
    found = [
        Launch(number=int(key.removeprefix(LAUNCH)), **facts)
        for key, facts in attributes.items()
        if key.startswith(LAUNCH)
    ]
    return sorted(found, key=lambda launch: launch.number)


def _key(number: int) -> str:
    return f"{LAUNCH}{number:04d}"
