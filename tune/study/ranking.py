"""Which trials of a study are the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune.study.view import CONTINUES, ENDED, TrialView, point_key

CHAMPIONS = {"best-id": "val_id/miou", "best-ood": "val_ood/miou"}


def front_of(complete: Sequence[TrialView]) -> list[int]:
    """Return the trials that no other dominates, the best in the first objective first."""
    if not complete:
        return []
    values = np.array([v.gains for v in complete], dtype=np.float64)
    best = non_dominated(values)
    order = np.argsort(-values[:, 0], kind="stable")
    return [complete[i].number for i in order if best[i]]


def best_by_objective(
    objectives: Sequence[str], complete: Sequence[TrialView]
) -> dict[str, tuple[int, float]]:
    """Return number and value of the best feasible trial, the lower number first, by objective."""
    scored = [v for v in complete if v.feasible and v.objectives]
    found = {}
    for place, name in enumerate(objectives if scored else ()):
        best = max(scored, key=lambda v: ((v.gains or [])[place], -v.number))
        found[name] = (best.number, (best.objectives or [])[place])
    return found


def non_dominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows no other dominates; importing moocore for it takes longer than reading."""
    best = np.ones(len(values), dtype=np.bool_)
    # A row that dominates another has the higher sum: few but the front are compared with all.
    for row in np.argsort(-values.sum(axis=1), kind="stable"):
        if best[row]:
            best &= ~((values <= values[row]).all(axis=1) & (values < values[row]).any(axis=1))
    return best


def champions_in(complete: Sequence[TrialView]) -> dict[str, int]:
    """Return the best of each validation role; of equals one of the front, then the first."""
    found, front = {}, set(front_of(complete))
    for alias, metric in CHAMPIONS.items():
        scored = [v for v in complete if metric in v.kept]
        if scored:
            found[alias] = max(
                scored, key=lambda v: (v.kept[metric], v.number in front, -v.number)
            ).number
    return found


def best_first(views: Sequence[TrialView]) -> list[TrialView]:
    """Order complete trials by their front, then by the sum of their objectives."""
    import moocore

    complete = [v for v in current(views) if v.objectives]
    if not complete:
        return []
    values = np.array([v.gains for v in complete], dtype=np.float64)
    order = np.lexsort((-values.sum(axis=1), moocore.pareto_rank(values, maximise=True)))
    return [complete[i] for i in order]


def hypervolume(points: Sequence[Sequence[float]]) -> float:
    """Return the volume that some points dominate above 0, objectives maximised.

    Where a minimised objective, negated, is below 0, it is the volume above the worst of them.

    >>> hypervolume([[1.0, 2.0], [2.0, 1.0]])
    3.0
    """
    if not points:
        return 0.0
    import moocore

    values = np.asarray(points, dtype=np.float64)
    reference = np.minimum(0.0, values.min(axis=0))
    return float(moocore.hypervolume(values, ref=reference, maximise=True))


def current(views: Sequence[TrialView]) -> list[TrialView]:
    """Return the complete points that count: without trials that a complete one continues."""
    replaced = _replaced(views)
    return [v for v in pooled(views) if v.state == "COMPLETE" and v.number not in replaced]


def pooled(views: Sequence[TrialView]) -> list[TrialView]:
    """Return all trials of a study, those that count for one point with other seeds as one.

    It stands at the place of the first of them, has its number, and holds the means over all,
    which have equally many seeds. Trials with the same seeds stay apart, and so do those that were
    trained for other epochs.
    """
    if not any(v.repeats for v in views):
        return list(views)
    points: dict[object, list[TrialView]] = {}
    replaced = _replaced(views)
    times = Counter[object]()
    for view in views:
        if view.state != "COMPLETE" or view.number in replaced:
            points[view.number] = [view]
            continue
        point = point_key(view.values), view.attributes.get("epochs")
        points.setdefault((point, times[point, view.repeats]), []).append(view)
        times[point, view.repeats] += 1
    return [trials[0] if len(trials) == 1 else _mean_of(trials) for trials in points.values()]


def _replaced(views: Sequence[TrialView]) -> set[int | None]:
    """Return the trials that a complete one continues."""
    return {v.attributes.get(CONTINUES) for v in views if v.state == "COMPLETE"}


def _mean_of(trials: Sequence[TrialView]) -> TrialView:
    first = trials[0]
    means: dict[str, Any] = {
        "final": _means([v.kept for v in trials]),
        "violations": _means([v.violations for v in trials]),
    }
    ended = first.attributes.get(ENDED, {}) | means
    return replace(
        first,
        objectives=[fmean(one) for one in zip(*(v.objectives or [] for v in trials), strict=True)],
        attributes=first.attributes | {ENDED: ended},
        pooled=[v.number for v in trials],
    )


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each name that all have; the spread in each trial is not that of all."""
    names = [n for n in rows[0] if not n.startswith("sd/") and all(n in row for row in rows)]
    return {name: fmean(row[name] for row in rows) for name in names}
