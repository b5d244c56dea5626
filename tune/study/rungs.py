"""Where the rungs of a search lie: at epochs, or where a trial has used so much of a resource.

Rungs count from 0. What a trial has used stands in the metrics of its epochs, so that the same
events always give the same rungs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import count, pairwise
from typing import TYPE_CHECKING

from tune.config.pruners import OPTUNA_PRUNERS
from tune.study import pruners
from tune.study.budget import priced

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.study.view import TrialView


class Rungs:
    """The rungs of a search; the last epoch is none of them."""

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec
        pruning = spec.pruning
        self._last = spec.epochs
        self.fixed: list[int] | None = None
        """The rungs where they are epochs."""
        if pruning.resource == "epochs" or pruning.name == "none":
            self.fixed = _epochs_of(spec)

    def used(self, metrics: Mapping[str, float]) -> float:
        """Return what a trial with some metrics has used of the resource, in all its seeds."""
        wall = metrics.get("cost/wall_seconds", 0.0)
        if self._spec.pruning.resource == "seconds":
            return wall
        return priced(
            epochs=0,
            cpu_seconds=metrics.get("cost/cpu_seconds", 0.0),
            gpu_seconds=wall * self._spec.resources.gpu,
            prices=self._spec.prices,
        ).money

    def reached(self, trial: TrialView) -> dict[int, int]:
        """Return the rungs that a trial has reached, each with the epoch at which it did.

        An epoch that uses much may reach several.
        """
        if self.fixed is not None:
            return {rung: epoch for rung, epoch in enumerate(self.fixed) if epoch in trial.curve}
        inherited = {
            name: trial.attributes.get(f"inherited_{name}", 0.0)
            for name in ("cpu_seconds", "wall_seconds")
        }
        rung = self._following(self.used({f"cost/{k}": v for k, v in inherited.items()}))
        found = {}
        for epoch, metrics in trial.curve.items():
            used = self.used(metrics)
            while epoch < self._last and used >= self._at(rung):
                found[rung] = epoch
                rung += 1
        return found

    def lies_at(self, epoch: int, trial: Callable[[], TrialView]) -> bool:
        """Return whether a trial reaches a rung at an epoch."""
        if self.fixed is not None:
            return epoch in self.fixed
        return epoch in self.reached(trial()).values()

    def next_epoch(self, trial: TrialView, epoch: int) -> int:
        """Return the epoch of a trial's first rung after one, the last where there is none.

        What it uses from then on is taken to be what it used so far.
        """
        if self.fixed is not None:
            return next((rung for rung in self.fixed if rung > epoch), self._last)
        used = self.used(trial.curve.get(epoch, {}))
        if used <= 0:
            return self._last
        expected = math.ceil(self._at(self._following(used)) / used * epoch)
        return min(max(expected, epoch + 1), self._last)

    def longest(self) -> int:
        """Return the most epochs from one rung to the next, as far as that is known."""
        if self.fixed is None:
            return self._last
        return max((above - below for below, above in pairwise([0, *self.fixed])), default=0)

    def _at(self, rung: int) -> float:
        """Return what has been used at a rung."""
        pruning = self._spec.pruning
        return (pruning.first or math.inf) * float(pruning.reduction) ** rung

    def _following(self, used: float) -> int:
        return next(rung for rung in count() if self._at(rung) > used)


def _epochs_of(spec: SearchSpec) -> list[int]:
    """Return the epochs at which the pruner of a search decides."""
    pruning = spec.pruning
    if pruning.name == "none":
        return []
    if pruning.name in OPTUNA_PRUNERS:
        return list(range(pruning.min_epochs, spec.epochs))
    return pruners.rungs(
        min_epochs=pruning.min_epochs, reduction=pruning.reduction, max_epochs=spec.epochs
    )
