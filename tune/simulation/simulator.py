"""A search on recorded curves by a clock of its own, asked and stored as a real one is."""

from __future__ import annotations

import heapq
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage

from refkd.seeds import generator
from tune.study.request import TrialRequest
from tune.study.search_study import SearchStudy

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile
    from tune.simulation.curves import Curve, CurveTable


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


_Due = tuple[float, int, "TrialRequest", "Curve", int]
"""An epoch that a worker will have finished: when, in which order, of what."""


class Simulated:
    """A search on recorded curves, with what it has used and measured so far."""

    def __init__(self, file: StudyFile, table: CurveTable, world: World) -> None:
        self.file, self.table, self.world = file, table, world
        self.seconds = 0.0
        """Simulated time."""
        self.epochs = 0
        """Epochs trained, those that were lost included."""
        self.events = 0
        """Requests, and epochs that were stored."""
        self.points: list[tuple[int, list[float]]] = []
        """Every point measured: epochs trained until then, objectives."""
        self._storage = InMemoryStorage()
        self.study = self._start()
        self._due: list[_Due] = []
        self._order = 0
        self._kills = sorted(world.kills, reverse=True)

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

    def _start(self) -> SearchStudy:
        study = SearchStudy(self.file, self._storage)
        study.launches.clock = lambda: self.seconds
        study.begin_launch()
        return study

    def _fill(self) -> None:
        """Give every idle worker something to do."""
        while len(self._due) < self.file.workers and (ask := self.study.ask()):
            self.events += 1
            view = self.study.views()[ask.number]
            self._schedule(ask, self.table.nearest(ask.values), view.epoch + 1)

    def _schedule(
        self, ask: TrialRequest, curve: Curve, epoch: int, *, delay: float = 0.0
    ) -> None:
        self._order += 1
        time = self.seconds + delay + curve.seconds(epoch)
        heapq.heappush(self._due, (time, self._order, ask, curve, epoch))

    def _step(self, time: float, order: int, ask: TrialRequest, curve: Curve, epoch: int) -> None:
        """Finish an epoch, or lose it to a crash."""
        self.seconds = time
        self.epochs += 1
        if self.world.crash > 0:
            draw = generator(self.world.seed, "crash", ask.number, epoch, order)
            if draw.random() < self.world.crash:
                self._schedule(ask, curve, epoch, delay=self.world.restart)
                return
        self.events += 1
        metrics = curve.at(epoch)
        self.points.append((self.epochs, [metrics[n] for n in self.file.objectives]))
        action = self.study.record(ask.number, epoch, metrics)
        if action == "go" and epoch < self.file.training.epochs:
            self._schedule(ask, curve, epoch + 1)
        else:
            self.study.end(ask.number, metrics)

    def _kill(self, time: float) -> None:
        """Lose the driver and every running epoch; a new driver goes on with the study."""
        self.seconds = max(self.seconds, time) + self.world.restart
        self.epochs += len(self._due)
        self._due = []
        self.study = self._start()


def simulate_search(file: StudyFile, table: CurveTable, world: World | None = None) -> Simulated:
    """Search a study on recorded curves, with the study file's workers, budget and seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return Simulated(file, table, world or World()).run()
