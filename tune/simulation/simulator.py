"""A search on recorded curves by a clock of its own, asked and stored as a real one is."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage

from refkd.seeds import generator
from tune.config.metrics import COSTS
from tune.simulation.made_up import pairs_around
from tune.study.request import TrialRequest
from tune.study.search_study import SearchStudy

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.config.space import Value


COST = "cost/"
"""Begin of the metrics that add up over the seeds of a trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What can happen to a simulated search."""

    crash: float = 0.0
    """Probability that a worker dies in an epoch; its trial is resumed from the epoch before."""
    kills: tuple[float, ...] = ()
    """Times in seconds at which the driver and all workers die and are started again."""
    restart: float = 5.0
    """Seconds that a new worker or driver takes to be at work."""
    seed: int = 0
    """Of the crashes."""


class Curve(Protocol):
    """What a trial measures, and how long it takes."""

    def at(self, epoch: int) -> Mapping[str, float]:
        """Return the metrics after an epoch."""

    def seconds(self, epoch: int) -> float:
        """Return how long an epoch takes."""


class Curves(Protocol):
    """The curve of every point of a space."""

    def nearest(self, values: Mapping[str, Value]) -> Curve:
        """Return the curve of a point."""


_Due = tuple[float, int, "TrialRequest", Curve, int]
"""An epoch that a worker will have finished: when, in which order, of what."""


class Simulated:
    """A search on recorded curves, with what it has used and measured so far."""

    def __init__(self, spec: SearchSpec, table: Curves, world: World) -> None:
        self.spec, self.table, self.world = spec, table, world
        self.seconds = 0.0
        """Simulated time."""
        self.epochs = 0
        """Epochs trained, those that were lost included."""
        self.events = 0
        """Requests, and epochs that were stored."""
        self.points: list[tuple[int, list[float]]] = []
        """Every point measured: epochs trained until then, objectives."""
        self.ends: list[tuple[int, list[float]]] = []
        """The same of the ends of complete trials."""
        self._storage = InMemoryStorage()
        self.study = self._start()
        self._due: list[_Due] = []
        self._order = 0
        self._kills = sorted(world.kills, reverse=True)
        self._share = spec.replicates.seeds / spec.replicates.race
        """What all seeds of a trial cost, over those that race."""

    def run(self) -> Self:
        """Search to the end."""
        self._fill()
        while self._due:
            if self._kills and self._kills[-1] <= self._due[0][0]:
                self._kill(self._kills.pop())
            else:
                self._step(*heapq.heappop(self._due))
            self._fill()
        self.study.close_paused()
        return self

    def scored(self, curve: Curve, epoch: int) -> Mapping[str, str]:
        """Return what a trial's pairs score where trials race: noise around what a curve says."""
        if self.spec.pruning.name != "paired_racing":
            return {}
        means = {k: v for k, v in curve.at(epoch).items() if k in self.spec.objectives}
        return {k: pairs_around(v) for k, v in means.items() if k not in COSTS}

    def _start(self) -> SearchStudy:
        study = SearchStudy(self.spec, self._storage)
        study.launches.clock = lambda: self.seconds
        study.begin_launch()
        return study

    def _fill(self) -> None:
        """Give every idle worker something to do."""
        while len(self._due) < self.spec.workers and (ask := self.study.ask()):
            self.events += 1
            view = self.study.views()[ask.number]
            self._schedule(ask, self.table.nearest(ask.values), view.epoch + 1)

    def _schedule(
        self, ask: TrialRequest, curve: Curve, epoch: int, *, delay: float = 0.0
    ) -> None:
        """Begin an epoch of a trial; the one behind its last are the seeds that did not race."""
        self._order += 1
        lasting = curve.seconds(epoch) if epoch <= self.spec.epochs else self._others(curve)
        time = self.seconds + delay + lasting
        heapq.heappush(self._due, (time, self._order, ask, curve, epoch))

    def _others(self, curve: Curve) -> float:
        """Return how long the seeds of a trial take that did not race."""
        raced = sum(curve.seconds(epoch) for epoch in range(1, self.spec.epochs + 1))
        return (self._share - 1) * raced

    def _step(self, time: float, order: int, ask: TrialRequest, curve: Curve, epoch: int) -> None:
        """Finish an epoch, or lose it to a crash."""
        self.seconds = time
        if epoch > self.spec.epochs:
            measured = curve.at(self.spec.epochs).items()
            final = {n: self._share * v if n.startswith(COST) else v for n, v in measured}
            self._end(ask, final)
            return
        self.epochs += 1
        if self.world.crash > 0:
            draw = generator(self.world.seed, "crash", ask.number, epoch, order)
            if draw.random() < self.world.crash:
                self._schedule(ask, curve, epoch, delay=self.world.restart)
                return
        self.events += 1
        metrics = curve.at(epoch)
        self.points.append((self.epochs, [metrics[n] for n in self.spec.objectives]))
        action = self.study.record(ask.number, epoch, metrics, self.scored(curve, epoch))
        if action == "go" and (epoch < self.spec.epochs or self._share > 1):
            self._schedule(ask, curve, epoch + 1)
        else:
            self._end(ask, metrics)

    def _end(self, ask: TrialRequest, final: Mapping[str, float]) -> None:
        """Complete, prune or pause a trial."""
        if self.study.end(ask.number, final) == "COMPLETE":
            self.ends.append((self.epochs, [final[name] for name in self.spec.objectives]))

    def _kill(self, time: float) -> None:
        """Lose the driver and every running epoch; a new driver goes on with the study."""
        self.seconds = max(self.seconds, time) + self.world.restart
        self.epochs += len(self._due)
        self._due = []
        self.study = self._start()


def simulate_search(spec: SearchSpec, table: Curves, world: World | None = None) -> Simulated:
    """Search a study on recorded curves, with its spec's workers, budget and seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return Simulated(spec, table, world or World()).run()
