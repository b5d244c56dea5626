"""Decisions at rungs: what becomes of a trial, from what the storage holds and nothing else."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tune.config.pruners import OPTUNA_PRUNERS
from tune.study import pruners, racing
from tune.study.optuna_pruning import ask_optuna
from tune.study.rungs import Rungs
from tune.study.trial_events import RungJudged, TrialPromoted
from tune.study.view import FOREIGN, Action, TrialView, changed

if TYPE_CHECKING:
    from optuna import Study

    from tune.config.search_spec import SearchSpec


class RungPruner:
    """The pruning of a search, applied to views of its trials."""

    def __init__(self, spec: SearchSpec) -> None:
        self._pruning = spec.pruning
        self._seed = spec.seed
        self._objectives = dict(zip(spec.objectives, spec.signs, strict=True))
        self._epochs = spec.epochs
        self.rungs = Rungs(spec)
        self._costs = spec.pruning.resource != "epochs"
        self._races = spec.pruning.name == "paired_racing"
        self._asks_optuna = spec.pruning.name in OPTUNA_PRUNERS
        self._points: dict[int, dict[int, list[float]]] = defaultdict(dict)
        self._reached: dict[int, dict[int, int]] = {}
        self._views: Sequence[TrialView] = []

    @property
    def promotes(self) -> bool:
        """Whether trials wait at rungs to be promoted."""
        return self._pruning.type != "stop" and self._pruning.name == "pareto_halving"

    def decide(
        self, seen: Callable[[], Study], number: int, epoch: int, views: Sequence[TrialView]
    ) -> RungJudged | None:
        """Return what becomes of a trial at a rung; None where it lacks an objective there.

        Where trials race, one without the scores of its pairs is not judged, nor compared with.

        `seen` returns the study for a pruner of Optuna's.
        """
        if self._asks_optuna:
            (name,) = self._objectives
            return ask_optuna(self._pruning, name, self._epochs, seen(), number, epoch, views)
        self._look(views)
        rung = self._rung(number, epoch)
        points = {} if rung is None else self._points[rung]
        if rung is None or number not in points:
            return None
        used = self.rungs.used(views[number].curve[epoch]) if self._costs else None
        if self.promotes:
            action: Action = "go" if views[number].finishes else "pause"
            return RungJudged(epoch=epoch, action=action, used=used)
        # The first trial at a rung is always among the best ⌈n / η⌉, so none waits for others.
        best = math.ceil(len(points) / self._pruning.passing)
        if self._races:
            chance = self._chance(rung, number, best, views)
            action = "stop" if chance < self._pruning.least else "go"
            return RungJudged(
                epoch=epoch, action=action, probability=chance, among=len(points), used=used
            )
        better = pruners.ranks(points, [number], tie=self._pruning.tie)[number]
        action = "go" if better < best else "stop"
        return RungJudged(epoch=epoch, action=action, better=better, among=len(points), used=used)

    def promotion(self, views: Sequence[TrialView]) -> tuple[int, TrialPromoted] | None:
        """Return the paused trial that ranks best at the highest rung, and its event."""
        return next((best for best in self._best(views) if self._passes(best[1])), None)

    def finisher(self, views: Sequence[TrialView]) -> tuple[int, TrialPromoted] | None:
        """Return the best paused trial of all, and the event that trains it to its end."""
        best = next(self._best(views), None)
        return best and (best[0], replace(best[1], finish=True))

    def completes(self, trial: TrialView) -> bool:
        """Return whether a trial is complete, or is trained to its end."""
        promoted = max(trial.promotions, default=0)
        on_its_way = trial.finishes or (
            promoted > 0 and self.rungs.next_epoch(trial, promoted) == self._epochs
        )
        return trial.state == "COMPLETE" or (trial.state == "RUNNING" and on_its_way)

    def _chance(self, rung: int, number: int, best: int, views: Sequence[TrialView]) -> float:
        """Return how likely a trial is among the best of those that have reached a rung."""
        points = self._points[rung]
        scored = {other: views[other].scored[self._reached[other][rung]] for other in points}
        drawn = racing.resampled(points, scored, self._objectives, seed=self._seed, rung=rung)
        return racing.chance(drawn, sorted(points).index(number), best, tie=self._pruning.tie)

    def _passes(self, event: TrialPromoted) -> bool:
        return event.better < event.among // self._pruning.passing

    def _best(self, views: Sequence[TrialView]) -> Iterator[tuple[int, TrialPromoted]]:
        """Yield the best paused trial of each rung and its promotion, from the highest rung on."""
        self._look(views)
        waiting: dict[int, list[int]] = defaultdict(list)
        for trial in views:
            at = trial.paused_at
            if at is not None and (rung := self._rung(trial.number, at)) is not None:
                waiting[rung].append(trial.number)
        for rung in sorted(waiting, reverse=True):
            points = self._points[rung]
            # A front may hold all trials: those that have gone on take their places in it.
            gone_on = [number for number in points if self._has_gone_on(views[number], rung)]
            ranked = pruners.ranks(points, waiting[rung], tie=self._pruning.tie, ahead=gone_on)
            better, number = min((ranked[number], number) for number in waiting[rung])
            epoch = self._reached[number][rung]
            yield number, TrialPromoted(epoch=epoch, better=better, among=len(points))

    def _has_gone_on(self, trial: TrialView, rung: int) -> bool:
        epoch = self._reached[trial.number][rung]
        above = self._rung(trial.number, epoch) != rung
        return above or trial.epoch > epoch or epoch in trial.promotions

    def _rung(self, number: int, epoch: int) -> int | None:
        """Return the highest rung that a trial has reached at an epoch."""
        reached = self._reached.get(number, {}).items()
        return max((rung for rung, at in reached if at == epoch), default=None)

    def _look(self, views: Sequence[TrialView]) -> None:
        """Note each trial's rungs and its objectives there; only changed trials are read again."""
        for trial in (views[number] for number in changed(views, self._views)):
            self._reached[trial.number] = self.rungs.reached(trial)
            for points in self._points.values():
                points.pop(trial.number, None)
            for rung, epoch in self._reached[trial.number].items():
                metrics = trial.curve[epoch]
                if self._races and epoch not in trial.scored:
                    continue
                if trial.state not in ("FAIL", FOREIGN) and all(
                    name in metrics for name in self._objectives
                ):
                    self._points[rung][trial.number] = [
                        sign * metrics[name] for name, sign in self._objectives.items()
                    ]
        self._views = views
