"""Successive halving on a Pareto front: which trials go on after a rung, as pure functions.

At a rung every trial that has reached it is ranked: first by non-dominated front, then within a
front by crowding distance (Deb et al., NSGA-II) or by its place in an epsilon-net (Schmucker et
al., multi-objective ASHA). With one objective the fronts are single values, and this is
asynchronous successive halving (Li et al., ASHA) of the stopping or the promotion type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import moocore
import numpy as np
from numpy.typing import NDArray

Point = Sequence[float]
Tie = Literal["crowding", "epsilon_net"]
Fronts = NDArray[np.signedinteger]
"""Each row's non-dominated front, 0 the best; equal rows share one."""


def rungs(*, min_epochs: int, reduction: int, max_epochs: int) -> list[int]:
    """Return the epochs at which the pruner decides; the last epoch is none of them.

    >>> rungs(min_epochs=2, reduction=3, max_epochs=20)
    [2, 6, 18]
    """
    epochs, rung = [], min_epochs
    while rung < max_epochs:
        epochs.append(rung)
        rung *= reduction
    return epochs


def ranks(
    points: Mapping[int, Point],
    of: Iterable[int] | None = None,
    *,
    tie: Tie = "crowding",
    ahead: Collection[int] = (),
) -> dict[int, int]:
    """Return how many trials rank strictly before some trials, or before each (maximised).

    `points` are of all trials at a rung. Within a front, those that are `ahead` come first, and
    only the fronts of the trials that are asked for are ordered.

    >>> ranks({0: [1.0], 1: [3.0], 2: [2.0]})
    {0: 2, 1: 0, 2: 1}
    """
    numbers = sorted(points)
    values = np.array([points[n] for n in numbers], dtype=np.float64)
    fronts: Fronts = moocore.pareto_rank(values, maximise=True)
    wanted = numbers if of is None else sorted(of)
    rows = np.searchsorted(numbers, wanted)
    mates = np.isin(fronts, fronts[rows])
    inside = np.zeros(len(numbers))
    if tie == "epsilon_net" and values.shape[1] > 1:
        inside[mates] = epsilon_net_places(values[mates], fronts[mates])
    else:
        inside[mates] = -crowding_distances(values[mates], fronts[mates])
    first = np.isin(numbers, list(ahead))
    found = {}
    for number, row in zip(wanted, rows, strict=True):
        before = (first > first[row]) | ((first == first[row]) & (inside < inside[row]))
        closer = (fronts == fronts[row]) & before
        found[number] = int((fronts < fronts[row]).sum() + closer.sum())
    return found


def crowding_distances(values: NDArray[np.float64], fronts: Fronts) -> NDArray[np.float64]:
    """Return each row's crowding distance within its front; the ends are infinite."""
    distances = np.zeros(len(values))
    if values.shape[1] == 1:
        return distances
    for front in set(fronts.tolist()):
        rows = np.flatnonzero(fronts == front)
        for column in values[rows].T:
            ordered, places = np.unique(column, return_inverse=True)
            if len(ordered) > 1:
                gaps = np.full(len(ordered), np.inf)
                gaps[1:-1] = (ordered[2:] - ordered[:-2]) / (ordered[-1] - ordered[0])
                distances[rows] += gaps[places]
    return distances


def epsilon_net_places(values: NDArray[np.float64], fronts: Fronts) -> NDArray[np.float64]:
    """Return each row's place in its front's epsilon-net, 0 first.

    The net begins with the best first objective and takes, each time, the row farthest from all
    taken so far, distances scaled by the front's ranges; ties go to the lower row.
    """
    places = np.zeros(len(values))
    for front in np.unique(fronts):
        rows = np.flatnonzero(fronts == front)
        points = values[rows]
        ranges = np.ptp(points, axis=0)
        scaled = points / np.where(ranges > 0, ranges, 1.0)
        chosen = int(np.argmax(points[:, 0]))
        nearest = np.full(len(rows), np.inf)
        for place in range(len(rows)):
            places[rows[chosen]] = place
            nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[chosen], axis=1))
            nearest[chosen] = -1.0
            chosen = int(np.argmax(nearest))
    return places
