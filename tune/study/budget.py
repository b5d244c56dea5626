"""What a study has used and will use, and whether that is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tune.study.view import ENDED_STATES

if TYPE_CHECKING:
    from tune.config.limits import Bounded, Prices
    from tune.config.search_spec import SearchSpec
    from tune.study.rungs import Rungs
    from tune.study.view import TrialView


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What some trials used; times are seconds."""

    epochs: int = 0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    money: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        names = [one.name for one in fields(self)]
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in names})


def spent_by(view: TrialView, limits: Bounded) -> Spent:
    """Return what a trial used itself, in all its seeds or, unless complete, those that race."""
    known = view.attributes
    complete = view.state == "COMPLETE"
    used = {**view.last, **view.kept} if complete else view.last
    cpu = used.get("cost/cpu_seconds", 0.0) - known.get("inherited_cpu_seconds", 0.0)
    wall = used.get("cost/wall_seconds", 0.0) - known.get("inherited_wall_seconds", 0.0)
    students = limits.replicates.seeds if complete else limits.replicates.race
    return priced(
        epochs=max(0, view.epoch - int(known.get("inherited", 0))) * students,
        cpu_seconds=max(0.0, cpu),
        gpu_seconds=max(0.0, wall) * limits.resources.gpu,
        prices=limits.prices,
    )


def priced(*, epochs: int, cpu_seconds: float, gpu_seconds: float, prices: Prices) -> Spent:
    """Return a use of machines with what it costs."""
    money = cpu_seconds / 3600 * prices.cpu_hour + gpu_seconds / 3600 * prices.gpu_hour
    return Spent(epochs=epochs, cpu_seconds=cpu_seconds, gpu_seconds=gpu_seconds, money=money)


def total(views: Sequence[TrialView], limits: Bounded) -> Spent:
    """Return what all trials of a study used."""
    return sum((spent_by(v, limits) for v in views), Spent())


def reached(
    limits: Bounded, views: Sequence[TrialView], wall_seconds: Callable[[], float]
) -> tuple[str, str] | None:
    """Return which limit other than the number of trials is reached, and how; None where none is.

    The limit is the name of a field of `Budget`, the rest a sentence that names it.
    """
    budget = limits.budget
    counted = (budget.epochs, budget.cpu_hours, budget.gpu_hours, budget.money)
    spent = Spent() if counted == (None,) * 4 else total(views, limits)
    wall = 0.0 if budget.wall_hours is None else wall_seconds()
    trained: tuple[str, int | None, float] = ("epochs", budget.epochs, spent.epochs)
    if budget.trainings and budget.epochs:
        whole = budget.epochs / budget.trainings
        trained = ("trainings", budget.trainings, spent.epochs / whole)
    for name, limit, used in (
        trained,
        ("wall_hours", budget.wall_hours, wall / 3600),
        ("cpu_hours", budget.cpu_hours, spent.cpu_seconds / 3600),
        ("gpu_hours", budget.gpu_hours, spent.gpu_seconds / 3600),
        ("money", budget.money, spent.money),
    ):
        if limit is not None and used >= limit:
            return name, f"budget.{name} is used up ({used:.4g} of {limit:g})"
    if budget.patience is not None and stagnant(views) >= budget.patience:
        told = f"no better front in the last {stagnant(views)} complete trials (budget.patience)"
        return "patience", told
    return None


def affordable(
    limits: Bounded, views: Sequence[TrialView], wall_seconds: Callable[[], float]
) -> float:
    """Return how many epochs of students the budget allows in all, at what they took so far."""
    budget = limits.budget
    if (budget.wall_hours, budget.cpu_hours, budget.gpu_hours, budget.money) == (None,) * 4:
        return math.inf if budget.epochs is None else float(budget.epochs)
    spent, wall = total(views, limits), 0.0 if budget.wall_hours is None else wall_seconds()
    used = {
        "wall_hours": wall / 3600,
        "cpu_hours": spent.cpu_seconds / 3600,
        "gpu_hours": spent.gpu_seconds / 3600,
        "money": spent.money,
    }
    found = [math.inf if budget.epochs is None else float(budget.epochs)]
    for name, amount in used.items():
        limit: float | None = getattr(budget, name)
        if limit is not None and amount > 0:
            found.append(spent.epochs * limit / amount)
    return min(found)


def trials_left(
    limits: Bounded, views: Sequence[TrialView], wall_seconds: Callable[[], float]
) -> int:
    """Return how many trials run, or may still begin under the budget."""
    running = sum(v.state == "RUNNING" for v in views)
    return running + (0 if reached(limits, views, wall_seconds) else unbegun(limits, views))


def unbegun(limits: Bounded, views: Sequence[TrialView]) -> int:
    """Return how many trials may still begin, those that continue or retry others included."""
    again = sum(v.state == "WAITING" and v.again for v in views)
    begun = sum(v.counts for v in views)
    return max(0, limits.budget.trials - begun) + again


def stagnant(views: Sequence[TrialView]) -> int:
    """Return how many complete trials, counted back from the last, did not enlarge the front."""
    complete = [v for v in views if v.state == "COMPLETE" and v.objectives and v.feasible]
    complete.sort(key=lambda v: v.stamps["ended"].place)
    points: list[NDArray[np.float64]] = []
    since = 0
    for trial in complete:
        point = np.array(trial.gains)
        better = not any((other >= point).all() for other in points)
        since = 0 if better else since + 1
        points.append(point)
    return since


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
