"""Which paused trials take the last of a budget, so that a search ends with complete ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tune.study.budget import affordable, total

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.study.pruning import RungPruner
    from tune.study.view import TrialView


def lacking(
    spec: SearchSpec,
    pruner: RungPruner,
    views: Sequence[TrialView],
    wall_seconds: Callable[[], float],
) -> int:
    """Return how many paused trials are still to be trained to their end.

    Of a small budget not more than half is kept for them, but that of one trial.
    """
    paused = sum(v.paused_at is not None for v in views)
    if not pruner.promotes or not paused:
        return 0
    wanted = spec.budget.finish
    wanted = len(spec.objectives) + 1 if wanted is None else wanted
    allowed = affordable(spec, views, wall_seconds)
    if allowed < math.inf:
        whole = spec.epochs * spec.replicates.seeds
        wanted = min(wanted, max(1, int(allowed / 2 / whole)))
    return max(0, min(wanted - sum(map(pruner.completes, views)), paused))


def must_finish(
    spec: SearchSpec,
    pruner: RungPruner,
    views: Sequence[TrialView],
    live: Iterable[int],
    wall_seconds: Callable[[], float],
) -> bool:
    """Return whether those trials and the `live` ones need what is left after one more step.

    A step is what is handed out at once: the epochs from one rung to the next.
    """
    few = lacking(spec, pruner, views, wall_seconds)
    allowed = affordable(spec, views, wall_seconds) if few else math.inf
    if allowed == math.inf:
        return False
    race, seeds, rungs = spec.replicates.race, spec.replicates.seeds, pruner.rungs
    paused = sorted((v.epoch for v in views if v.paused_at is not None), reverse=True)
    needed = sum(spec.epochs * seeds - epoch * race for epoch in paused[:few])
    needed += rungs.longest() * race
    for number in live:
        trial = views[number]
        ends = pruner.completes(trial)
        above = spec.epochs if ends else rungs.next_epoch(trial, trial.epoch)
        needed += (above - trial.epoch) * race
    return total(views, spec).epochs + needed >= allowed
