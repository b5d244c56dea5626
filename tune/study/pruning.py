"""Decisions at rungs: what becomes of a trial, from what the storage holds and nothing else.

Optuna's pruners are asked on a copy of the study in memory, made of its events alone. A pruner
such as successive halving writes to the study while it decides. If it wrote to the study itself, a
driver that dies before the decision's event is stored would decide otherwise when it is started
again, and so would a replay. What the pruner wrote to the copy becomes part of the event.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage

from refkd.scoped import log_levels
from tune import compat
from tune.study import pruners
from tune.study.trial_events import RungJudged, TrialPromoted
from tune.study.view import Action, TrialView
from tune.study.view_cache import changed

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from tune.config.settings import Pruning

OPTUNA_PRUNERS: Mapping[str, type[BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
}


class RungPruner:
    """The pruning of a study file, applied to views of its trials."""

    def __init__(self, pruning: Pruning, objectives: Sequence[str], epochs: int) -> None:
        self._pruning = pruning
        self._objectives = objectives
        self._epochs = epochs
        self._asks_optuna = pruning.name in OPTUNA_PRUNERS
        self._points: dict[int, dict[int, list[float]]] = {epoch: {} for epoch in self.rungs()}
        self._views: Sequence[TrialView] = []

    @property
    def promotes(self) -> bool:
        """Whether trials wait at rungs to be promoted."""
        return self._pruning.type == "promote" and self._pruning.name == "pareto_halving"

    def rungs(self) -> list[int]:
        """Return the epochs at which the pruner decides."""
        if self._pruning.name == "none":
            return []
        if self._asks_optuna:
            return list(range(self._pruning.min_epochs, self._epochs))
        return pruners.rungs(
            min_epochs=self._pruning.min_epochs,
            reduction=self._pruning.reduction,
            max_epochs=self._epochs,
        )

    def decide(
        self, study: optuna.Study, number: int, epoch: int, views: Sequence[TrialView]
    ) -> RungJudged | None:
        """Return what becomes of a trial at a rung; None where it lacks an objective there.

        `views` are of all trials of the study, here and below.
        """
        if self._asks_optuna:
            return self.ask_optuna(study, number, epoch, views)
        points = self._points_at(epoch, views)
        if number not in points:
            return None
        if self.promotes:
            return RungJudged(epoch=epoch, action="pause")
        better = pruners.ranks(points, [number], tie=self._pruning.tie)[number]
        # The first trial at a rung is always among the best ⌈n / η⌉, so none waits for others.
        action: Action = (
            "go" if better < math.ceil(len(points) / self._pruning.reduction) else "stop"
        )
        return RungJudged(epoch=epoch, action=action, better=better, among=len(points))

    def ask_optuna(
        self, study: optuna.Study, number: int, epoch: int, views: Sequence[TrialView]
    ) -> RungJudged:
        """Return what a pruner of Optuna's decides on a copy of the study."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            pruner = self._optuna_pruner()
        copied = _copy(study, views, self._objectives[0])
        trial = copied.get_trials(deepcopy=True)[number]
        stops = pruner.prune(copied, trial)
        after = compat.internal_attributes(copied.get_trials(deepcopy=False)[number])
        known = compat.internal_attributes(trial)
        written = {key: value for key, value in after.items() if key not in known}
        return RungJudged(epoch=epoch, action="stop" if stops else "go", written=written or None)

    def promotion(self, views: Sequence[TrialView]) -> tuple[int, TrialPromoted] | None:
        """Return the paused trial to resume and its event; None where none may go on.

        The highest rung comes first, there the trial that ranks best, then the lowest number.
        """
        for rung in reversed(self.rungs()):
            waiting = [v.number for v in views if v.paused_at == rung]
            if not waiting:
                continue
            points = self._points_at(rung, views)
            ranked = pruners.ranks(points, waiting, tie=self._pruning.tie)
            better, number = min((ranked[number], number) for number in waiting)
            if better < len(points) // self._pruning.reduction:
                return number, TrialPromoted(epoch=rung, better=better, among=len(points))
        return None

    def _points_at(self, rung: int, views: Sequence[TrialView]) -> dict[int, list[float]]:
        """Return the objectives at a rung by trial, of those that have them and have not failed.

        They are kept; only trials that changed since the last call are read again.
        """
        for trial in (views[number] for number in changed(views, self._views)):
            for epoch, points in self._points.items():
                metrics = trial.curve.get(epoch, {})
                points.pop(trial.number, None)
                if trial.state != "FAIL" and all(name in metrics for name in self._objectives):
                    points[trial.number] = [metrics[name] for name in self._objectives]
        self._views = views
        return self._points[rung]

    def _optuna_pruner(self) -> BasePruner:
        pruning = self._pruning
        options = dict(pruning.options)
        if pruning.name == "percentile":
            options.setdefault("percentile", 50.0)
        if pruning.name in ("median", "percentile"):
            options.setdefault("n_warmup_steps", pruning.min_epochs - 1)
        else:
            options.setdefault("min_resource", pruning.min_epochs)
            options.setdefault("reduction_factor", pruning.reduction)
        if pruning.name == "hyperband":
            options.setdefault("max_resource", self._epochs)
        return OPTUNA_PRUNERS[pruning.name](**options)


def _copy(study: optuna.Study, views: Sequence[TrialView], objective: str) -> optuna.Study:
    """Return a copy in memory whose trials report `objective` as their events have it."""
    storage = InMemoryStorage()
    with log_levels({"optuna": logging.WARNING}):
        study_id = storage.create_new_study(study.directions, study.study_name)
    for trial, view in zip(study.get_trials(deepcopy=False), views, strict=True):
        copied = copy.copy(trial)
        copied.intermediate_values = {
            epoch: metrics[objective]
            for epoch, metrics in view.curve.items()
            if objective in metrics
        }
        written: dict[str, Any] = {}
        for decision in view.decisions.values():
            written |= decision.get("written", {})
        compat.set_internal_attributes(copied, written)
        storage.create_new_trial(study_id, template_trial=copied)
    return optuna.Study(study.study_name, storage)
