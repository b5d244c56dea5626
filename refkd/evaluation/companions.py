"""A companion of the scores on `val_id` that costs nothing: the same pairs, rare places first.

Weights of 1 / p_fit(place) make the roles' location prior worth less, as a shift would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from refkd.evaluation.floors import locations
from refkd.evaluation.metrics import LOGGED, Scores

if TYPE_CHECKING:
    from refkd.data.pairs import Pairs

CAP = 10.0
"""No weight is above this many times the mean weight."""


def inverse_density_weights(fit: Pairs, target: Pairs) -> NDArray[np.float64]:
    """Return (N,) weights of the pairs of `target`, their mean 1: w ∝ 1 / p_fit(s/D, e/D).

    p_fit is a Gaussian kernel density (Scott's bandwidth) of the clamped moments of `fit`; weights
    are capped at `CAP` times their mean before they are scaled. Raises `numpy.linalg.LinAlgError`
    where all moments of `fit` lie on one line.
    """
    density = gaussian_kde(locations(fit).T)(locations(target).T)
    density = np.maximum(density, np.finfo(np.float64).tiny)
    weights = density.min() / density
    weights = np.minimum(weights, CAP * weights.mean())
    scaled: NDArray[np.float64] = weights / weights.mean()
    return scaled


def effective_number(weights: NDArray[np.float64]) -> float:
    """Return (Σw)² / Σw²: how many equally weighted pairs are as noisy.

    >>> effective_number(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def inverse_density_scores(
    scores: Scores, weights: NDArray[np.float64], role: str
) -> dict[str, float]:
    """Return weighted mIoU and R1@m in percent, named such as `val_id/inverse_density_miou`.

    Hits are tIoU >= m, so `scores` must be those of the project's own convention.
    """
    named = {f"{role}/inverse_density_miou": np.average(scores.tiou, weights=weights)}
    for threshold in LOGGED:
        hits = scores.tiou >= threshold
        named[f"{role}/inverse_density_r1_iou{threshold}"] = np.average(hits, weights=weights)
    return {name: 100.0 * float(value) for name, value in named.items()}
