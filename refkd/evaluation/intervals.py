"""Bootstrap intervals that resample videos, since the pairs of a video are not independent.

Letters in shapes: N pairs, K metrics, V clusters (videos).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkd.seeds import generator

Values = NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Means over pairs with a percentile interval; all (K,) and in the unit of the values."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    standard_error: NDArray[np.float64]


def cluster_bootstrap(
    values: Values,
    clusters: NDArray[Any],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Return the means of (N, K) values over pairs, with intervals over resampled clusters.

    `clusters` is (N,): the video of each pair. A resample draws V clusters with replacement and
    averages over all pairs of those drawn. Equal inputs and seeds give equal intervals. Raises
    `ValueError` where the shapes differ or there are fewer than two clusters.

    >>> interval = cluster_bootstrap(np.array([[1.0], [3.0]]), np.array(["a", "b"]), seed=0)
    >>> interval.mean.tolist(), interval.low.tolist(), interval.high.tolist()
    ([2.0], [1.0], [3.0])
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or clusters.shape != values.shape[:1]:
        raise ValueError(f"values of shape {values.shape} with clusters of {clusters.shape}")
    names, member = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{len(names)} cluster has no interval; give at least two")
    totals = np.zeros((len(names), values.shape[1] + 1))
    np.add.at(totals, member, np.column_stack([values, np.ones(len(values))]))
    drawn = np.empty((resamples, values.shape[1] + 1))
    random = generator(seed, "bootstrap")
    for resample in drawn:
        times = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        resample[:] = times.astype(np.float64) @ totals
    means = drawn[:, :-1] / drawn[:, -1:]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return Interval(
        mean=values.mean(axis=0), low=low, high=high, standard_error=means.std(axis=0, ddof=1)
    )


def paired_bootstrap(
    a: Values,
    b: Values,
    clusters: NDArray[Any],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Return the interval of a - b, two systems' (N, K) values on the same pairs.

    Both are resampled together, so what makes a video hard for both cancels. Raises as
    `cluster_bootstrap`, and `ValueError` where `a` and `b` differ in shape.
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"a is {np.shape(a)} and b is {np.shape(b)}; score both on equal pairs")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return cluster_bootstrap(difference, clusters, seed=seed, resamples=resamples, level=level)
