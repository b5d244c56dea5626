"""Launches: each run of a driver on a study, with the space, epochs and seed it had."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tune.study.environment import Environment
from tune.study.events import LaunchBegun
from tune.study.launch import WORKED, Launch, read_launches

if TYPE_CHECKING:
    import optuna

    from tune.config.search_spec import SearchSpec
    from tune.config.space import Value

TOUCH = 20.0
"""Seconds between two such notes: a killed launch has worked that much longer at most."""


class Launches:
    """All launches of a study, with this driver's own."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self.number = 0
        begun, steady = time.time(), time.monotonic()
        self.clock: Callable[[], float] = lambda: begun + time.monotonic() - steady
        """Seconds since 1970, as it was when the study was opened: whoever sets the clock while a
        driver is at work changes no budget. A simulation has its own."""
        self.census: Callable[[], list[dict[str, Any]]] = list
        """The machines at work; none where the driver has no cluster."""
        self.size: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """The events and the trials that the study holds."""
        self._touched: float | None = None  # until a launch begins here
        self._nodes: list[dict[str, Any]] = []

    def begin(self, spec: SearchSpec, environment: Environment | None) -> LaunchBegun:
        """Take the next number and return the event of this driver's launch, to be stored."""
        self.number = max((launch.number for launch in self.all()), default=0) + 1
        self._touched = self.clock()
        return LaunchBegun(
            number=self.number,
            begun=self._touched,
            search=spec.model_dump(mode="json", by_alias=True),
            file=spec.source,
            environment=environment,
        )

    @contextmanager
    def counting(self, census: Callable[[], list[dict[str, Any]]]) -> Iterator[None]:
        """Note the machines at work, at each touch, while the body runs and at its end."""
        self.census = census
        self.touch()
        try:
            yield
        finally:
            self.touch()
            held = self._nodes
            self.census = lambda: held

    def touch_sometimes(self) -> None:
        """Note that the driver still works, but not more often than once in `TOUCH` seconds."""
        if self._touched is not None and self.clock() - self._touched >= TOUCH:
            self.touch()

    def touch(self) -> None:
        """Note that the driver still works; the wall time of the budget is counted up to here."""
        self._touched, self._nodes = self.clock(), self.census()
        held, trials = self.size()
        facts = {"last": self._touched, "nodes": self._nodes, "events": held, "trials": trials}
        self._study.set_user_attr(f"{WORKED}{self.number:04d}", facts)

    def all(self) -> list[Launch]:
        """Return every launch, the first one first."""
        return read_launches(self._study.user_attrs)

    def once_fixed(self, names: Iterable[str], values: Mapping[str, Value]) -> dict[str, Value]:
        """Return what keys that `values` lack were while they were no part of the space."""
        found: dict[str, Value] = {}
        for launch in self.all():
            fixed = launch.fixed
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
