"""Whether chance explains what trials show: without SciPy, whose import outlasts a status."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranks(scores: Sequence[float] | Floats) -> Floats:
    """Return the rank of each score, 1 the lowest; equals share the mean of theirs.

    >>> ranks([0.5, 0.1, 0.5]).tolist()
    [2.5, 1.0, 2.5]
    """
    _, places, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: Floats = ends - (counts - 1) / 2
    return middle[places]


def trend(values: Sequence[float], scores: Sequence[float]) -> float:
    """Return Spearman's rank correlation in the standard deviations that chance would give it.

    >>> trend([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    2.0
    """
    x, y = (ranks(one) - (len(one) + 1) / 2 for one in (values, scores))
    extent = math.sqrt(float((x**2).sum() * (y**2).sum()))
    return 0.0 if extent == 0 else float((x * y).sum()) / extent * math.sqrt(len(x) - 1)


def lowness(ratio: float, above: int, under: int) -> float:
    """Return how far a ratio of two variances is below 1, in standard deviations of chance.

    `above` and `under` are degrees of freedom. By Paulson's approximation of the F distribution.
    """
    a, b = 2 / (9 * above), 2 / (9 * under)
    root: float = ratio ** (1 / 3)
    return ((1 - a) - (1 - b) * root) / math.sqrt(b * root**2 + a)
