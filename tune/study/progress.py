"""How far a search has come, in epochs of its students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tune.study.budget import affordable, total
from tune.study.view import ENDED_STATES

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.study.rungs import Rungs
    from tune.study.view import TrialView


def progress(
    spec: SearchSpec, rungs: Rungs, views: Sequence[TrialView], wall_seconds: Callable[[], float]
) -> tuple[int, float]:
    """Return how many epochs have been trained, and about how many there will be in all."""
    done = total(views, spec).epochs
    trials = len(views) + max(0, spec.budget.trials - sum(v.counts for v in views))
    by_trials = expected(spec, rungs, trials)
    if by_trials is None:
        ended = [v for v in views if v.state in ENDED_STATES]
        a_trial = total(ended, spec).epochs / len(ended) if ended else spec.epochs
        by_trials = a_trial * trials
    return done, max(float(done), min(by_trials, affordable(spec, views, wall_seconds)))


def expected(spec: SearchSpec, rungs: Rungs, trials: int) -> float | None:
    """Return how many epochs some trials take; None where that depends on what they measure.

    One in so many passes each rung, or as many as are trained to their end in any case.
    """
    seeds, race, pruning = spec.replicates.seeds, spec.replicates.race, spec.pruning
    heights = [0, *rungs.fixed, spec.epochs] if rungs.fixed is not None else None
    if pruning.name not in ("none", "pareto_halving") or heights is None:
        return None
    few = len(spec.objectives) + 1 if spec.budget.finish is None else spec.budget.finish
    few = min(trials, 1 if pruning.type == "stop" else few)
    passing = [max(few, trials / float(pruning.passing) ** n) for n in range(len(heights) - 1)]
    raced = sum(
        (above - below) * count
        for (below, above), count in zip(pairwise(heights), passing, strict=True)
    )
    return raced * race + passing[-1] * spec.epochs * (seeds - race)
