"""Successive halving on a Pareto front: which trials go on after a rung, as pure functions.

At a rung every trial that has reached it is ranked: first by non-dominated front, then within a
front by crowding distance (Deb et al., NSGA-II) or by its place in an epsilon-net (Schmucker et
al., multi-objective ASHA). With one objective the fronts are single values, and this is
asynchronous successive halving (Li et al., ASHA) of the stopping or the promotion type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
class Rank:
    """The rank of a trial at a rung."""

    better: int
    """Trials ranked strictly before it."""
    among: int
    """Trials compared, itself included."""


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
    points: Mapping[int, Point], of: Iterable[int] | None = None, *, tie: Tie = "crowding"
) -> dict[int, Rank]:
    """Return the ranks of some trials, or of all, from the points of all at a rung (maximised).

    Within a front, only the fronts of the trials that are asked for are ordered.

    >>> {n: rank.better for n, rank in ranks({0: [1.0], 1: [3.0], 2: [2.0]}).items()}
    {0: 2, 1: 0, 2: 1}
    """
    numbers = sorted(points)
    values = np.array([points[n] for n in numbers], dtype=np.float64)
    fronts: Fronts = moocore.pareto_rank(values, maximise=True)
    wanted = numbers if of is None else sorted(of)
    rows = np.searchsorted(numbers, wanted)
    mates = np.isin(fronts, fronts[rows])
    inside = np.zeros(len(numbers))
    inside[mates] = _inside(values[mates], fronts[mates], tie)
    found = {}
    for number, row in zip(wanted, rows, strict=True):
        closer = (fronts == fronts[row]) & (inside < inside[row])
        better = (fronts < fronts[row]).sum() + closer.sum()
        found[number] = Rank(better=int(better), among=len(numbers))
    return found


def stays(rank: Rank, reduction: int) -> bool:
    """Return whether the stopping type lets a trial go on: it is among the best ⌈n / η⌉.

    The first trial at a rung always is, so no trial waits for others.
    """
    return rank.better < max(1, math.ceil(rank.among / reduction))


def rises(rank: Rank, reduction: int) -> bool:
    """Return whether the promotion type resumes a trial: it is among the best ⌊n / η⌋."""
    return rank.better < rank.among // reduction


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
