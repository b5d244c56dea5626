"""Successive halving on a Pareto front: who goes on after a rung, as a pure function.

At a rung every trial that has reached it is ranked: first by non-dominated front, then within a
front by crowding distance (Deb et al., NSGA-II) or by its place in an epsilon-net (Schmucker et
al., multi-objective ASHA). With one objective the fronts are single values, and this is
asynchronous successive halving (Li et al., ASHA) of the stopping or the promotion type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import moocore
import numpy as np
from numpy.typing import NDArray

Point = Sequence[float]
Tie = Literal["crowding", "epsilon_net"]
Fronts = NDArray[np.signedinteger]
"""Each row's non-dominated front, 0 the best; equal rows share one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a trial stands at a rung."""

    better: int
    """Trials ranked strictly before it."""
    among: int
    """Trials compared, itself included."""


def rungs(*, min_epochs: int, reduction: int, max_epochs: int) -> list[int]:
    """Return the epochs at which trials are judged; the last epoch is none of them.

    >>> rungs(min_epochs=2, reduction=3, max_epochs=20)
    [2, 6, 18]
    """
    epochs, rung = [], min_epochs
    while rung < max_epochs:
        epochs.append(rung)
        rung *= reduction
    return epochs


def standings(points: Mapping[int, Point], *, tie: Tie = "crowding") -> dict[int, Standing]:
    """Return every trial's standing from the points of all trials at a rung (maximised).

    >>> {n: s.better for n, s in standings({0: [1.0], 1: [3.0], 2: [2.0]}).items()}
    {0: 2, 1: 0, 2: 1}
    """
    numbers = sorted(points)
    values = np.array([points[n] for n in numbers], dtype=np.float64)
    fronts: Fronts = moocore.pareto_rank(values, maximise=True)
    inside = _inside(values, fronts, tie)
    ahead = (fronts[:, None] < fronts) | ((fronts[:, None] == fronts) & (inside[:, None] < inside))
    better = ahead.sum(axis=0)
    return {
        n: Standing(better=int(b), among=len(numbers))
        for n, b in zip(numbers, better, strict=True)
    }


def standing_of(number: int, points: Mapping[int, Point], *, tie: Tie = "crowding") -> Standing:
    """Return one trial's standing: that of `standings`, without ranking who is far from it.

    >>> standing_of(2, {0: [1.0], 1: [3.0], 2: [2.0]})
    Standing(better=1, among=3)
    """
    numbers = sorted(points)
    values = np.array([points[n] for n in numbers], dtype=np.float64)
    fronts: Fronts = moocore.pareto_rank(values, maximise=True)
    row = numbers.index(number)
    mates = fronts == fronts[row]
    inside = _inside(values[mates], fronts[mates], tie)
    nearer = inside < inside[mates[:row].sum()]
    better = (fronts < fronts[row]).sum() + nearer.sum()
    return Standing(better=int(better), among=len(numbers))


def stays(standing: Standing, reduction: int) -> bool:
    """Return whether the stopping type lets a trial go on: it is among the best ⌈n / η⌉.

    The first trial at a rung always is, so nobody waits for others.
    """
    return standing.better < max(1, math.ceil(standing.among / reduction))


def rises(standing: Standing, reduction: int) -> bool:
    """Return whether the promotion type resumes a trial: it is among the best ⌊n / η⌋."""
    return standing.better < standing.among // reduction


def _inside(values: NDArray[np.float64], fronts: Fronts, tie: Tie) -> NDArray[np.float64]:
    """Return what orders the rows of a front, the lowest first."""
    if tie == "epsilon_net" and values.shape[1] > 1:
        return epsilon_net_places(values, fronts)
    return -crowding_distances(values, fronts)


def crowding_distances(values: NDArray[np.float64], fronts: Fronts) -> NDArray[np.float64]:
    """Return each row's crowding distance within its front; the ends of a front are infinite.

    With one objective a front holds equal values only, and all of them are equally crowded.
    """
    distances = np.zeros(len(values))
    if values.shape[1] == 1:
        return distances
    for front in set(fronts.tolist()):
        rows = np.flatnonzero(fronts == front)
        for column in values[rows].T:
            _add_gaps(distances, rows, column)
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


def _add_gaps(
    distances: NDArray[np.float64], rows: NDArray[np.int64], column: NDArray[np.float64]
) -> None:
    ordered = np.array(sorted(set(column.tolist())))
    places = np.searchsorted(ordered, column)
    if len(ordered) == 1:
        return
    ends = (places == 0) | (places == len(ordered) - 1)
    inner = places[~ends]
    distances[rows[ends]] = np.inf
    gaps = ordered[inner + 1] - ordered[inner - 1]
    distances[rows[~ends]] += gaps / (ordered[-1] - ordered[0])
