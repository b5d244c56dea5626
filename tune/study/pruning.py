"""Decisions at rungs: what becomes of a trial, from what the storage holds and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning

from tune.study import pruner_dry_run, pruners
from tune.study.view import Action, TrialView
from tune.study.view_cache import Points

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from tune.config.settings import Pruning

Decision = dict[str, Any]
"""A decision as it is stored: its action, and where the trial stood."""

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
        self._points = Points([] if self.asks_optuna() else self.rungs(), objectives)

    @property
    def promotes(self) -> bool:
        """Whether trials wait at rungs to be promoted."""
        return self._pruning.type == "promote" and self._pruning.name == "pareto_halving"

    def rungs(self) -> list[int]:
        """Return the epochs at which trials are judged."""
        if self._pruning.name == "none":
            return []
        if self._pruning.name in OPTUNA_PRUNERS:
            return list(range(self._pruning.min_epochs, self._epochs))
        return pruners.rungs(
            min_epochs=self._pruning.min_epochs,
            reduction=self._pruning.reduction,
            max_epochs=self._epochs,
        )

    def verdict(self, number: int, epoch: int, views: Sequence[TrialView]) -> Decision | None:
        """Return what becomes of a trial at an epoch; None where it is not judged there."""
        points = self._points.at(epoch, views)
        if number not in points:
            return None
        if self.promotes:
            return {"action": "pause"}
        standing = pruners.standing_of(number, points, tie=self._pruning.tie)
        action: Action = "go" if pruners.stays(standing, self._pruning.reduction) else "stop"
        return {"action": action, "better": standing.better, "among": standing.among}

    def asks_optuna(self) -> bool:
        """Return whether a pruner of Optuna's decides."""
        return self._pruning.name in OPTUNA_PRUNERS

    def optuna_verdict(
        self, study: optuna.Study, number: int, views: Sequence[TrialView]
    ) -> Decision:
        """Return what a pruner of Optuna's makes of a trial and its epochs."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            pruner = self._optuna_pruner()
        stops, written = pruner_dry_run.ask(pruner, study, number, views, self._objectives[0])
        verdict: Decision = {"action": "stop" if stops else "go"}
        return {**verdict, pruner_dry_run.WRITTEN: written} if written else verdict

    def promotion(self, views: Sequence[TrialView]) -> tuple[int, int, Decision] | None:
        """Return the trial to resume, the rung it waits at and its standing; None for nobody.

        The highest rung comes first, there the trial that stands best, then the lowest number.
        """
        for rung in reversed(self.rungs()):
            waiting = [v.number for v in views if v.paused_at == rung]
            if not waiting:
                continue
            ranked = pruners.standings(self._points.at(rung, views), tie=self._pruning.tie)
            best = min(waiting, key=lambda n: (ranked[n].better, n))
            if pruners.rises(ranked[best], self._pruning.reduction):
                standing = ranked[best]
                return best, rung, {"better": standing.better, "among": standing.among}
        return None

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
