"""Decisions at rungs: what becomes of a trial, from what the storage holds and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tune.config.pruners import OPTUNA_PRUNERS
from tune.study import pruners
from tune.study.optuna_pruning import ask_optuna
from tune.study.trial_events import RungJudged, TrialPromoted
from tune.study.view import FOREIGN, Action, TrialView, changed

if TYPE_CHECKING:
    from optuna import Study

    from tune.config.search_spec import SearchSpec


class RungPruner:
    """The pruning of a search, applied to views of its trials."""

    def __init__(self, spec: SearchSpec) -> None:
        self._pruning = spec.pruning
        self._objectives = dict(zip(spec.objectives, spec.signs, strict=True))
        self._epochs = spec.epochs
        self._rungs = rungs_of(spec)
        self._asks_optuna = spec.pruning.name in OPTUNA_PRUNERS
        self._points: dict[int, dict[int, list[float]]] = {epoch: {} for epoch in self.rungs()}
        self._views: Sequence[TrialView] = []

    @property
    def promotes(self) -> bool:
        """Whether trials wait at rungs to be promoted."""
        return self._pruning.type != "stop" and self._pruning.name == "pareto_halving"

    def rungs(self) -> list[int]:
        """Return the epochs at which the pruner decides."""
        return self._rungs

    def decide(
        self, seen: Callable[[], Study], number: int, epoch: int, views: Sequence[TrialView]
    ) -> RungJudged | None:
        """Return what becomes of a trial at a rung; None where it lacks an objective there.

        `seen` returns the study for a pruner of Optuna's.
        """
        if self._asks_optuna:
            (name,) = self._objectives
            return ask_optuna(self._pruning, name, self._epochs, seen(), number, epoch, views)
        points = self._points_at(epoch, views)
        if number not in points:
            return None
        if self.promotes:
            return RungJudged(epoch=epoch, action="go" if views[number].finishes else "pause")
        better = pruners.ranks(points, [number], tie=self._pruning.tie)[number]
        # The first trial at a rung is always among the best ⌈n / η⌉, so none waits for others.
        action: Action = "go" if better < math.ceil(len(points) / self._pruning.one_in) else "stop"
        return RungJudged(epoch=epoch, action=action, better=better, among=len(points))

    def promotion(self, views: Sequence[TrialView]) -> tuple[int, TrialPromoted] | None:
        """Return the paused trial that ranks best at the highest rung, and its event."""
        return next((best for best in self._best(views) if self._passes(best[1])), None)

    def finisher(self, views: Sequence[TrialView]) -> tuple[int, TrialPromoted] | None:
        """Return the best paused trial of all, and the event that trains it to its end."""
        best = next(self._best(views), None)
        return best and (best[0], replace(best[1], finish=True))

    def completes(self, trial: TrialView) -> bool:
        """Return whether a trial is complete, or is trained to its end."""
        on_its_way = trial.finishes or self.rungs()[-1] in trial.promotions
        return trial.state == "COMPLETE" or (trial.state == "RUNNING" and on_its_way)

    def _passes(self, event: TrialPromoted) -> bool:
        return event.better < event.among // self._pruning.one_in

    def _best(self, views: Sequence[TrialView]) -> Iterator[tuple[int, TrialPromoted]]:
        """Yield the best paused trial of each rung and its promotion, from the highest rung on."""
        for rung in reversed(self.rungs()):
            waiting = [v.number for v in views if v.paused_at == rung]
            if not waiting:
                continue
            points = self._points_at(rung, views)
            # A front may hold all trials: those that have gone on take their places in it.
            gone_on = [n for n in points if views[n].epoch > rung or rung in views[n].promotions]
            ranked = pruners.ranks(points, waiting, tie=self._pruning.tie, ahead=gone_on)
            better, number = min((ranked[number], number) for number in waiting)
            yield number, TrialPromoted(epoch=rung, better=better, among=len(points))

    def _points_at(self, rung: int, views: Sequence[TrialView]) -> dict[int, list[float]]:
        """Return the objectives at a rung by trial; only trials that changed are read again."""
        for trial in (views[number] for number in changed(views, self._views)):
            for epoch, points in self._points.items():
                metrics = trial.curve.get(epoch, {})
                points.pop(trial.number, None)
                if trial.state not in ("FAIL", FOREIGN) and all(
                    name in metrics for name in self._objectives
                ):
                    points[trial.number] = [
                        sign * metrics[name] for name, sign in self._objectives.items()
                    ]
        self._views = views
        return self._points[rung]


def rungs_of(spec: SearchSpec) -> list[int]:
    """Return the epochs at which the pruner of a search decides."""
    pruning = spec.pruning
    if pruning.name == "none":
        return []
    if pruning.name in OPTUNA_PRUNERS:
        return list(range(pruning.min_epochs, spec.epochs))
    return pruners.rungs(
        min_epochs=pruning.min_epochs, reduction=pruning.reduction, max_epochs=spec.epochs
    )
