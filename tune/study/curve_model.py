"""A Gaussian process over points and epochs, by which a curve's end is known before it is there.

The covariance of two measurements is a Matérn 5/2 of their points and epochs together, with a
length of its own for every coordinate, plus noise; all objectives share it, each with its own
scale (freeze-thaw, Swersky et al. 2014, in its plainest form). Lengths and noise are the most
probable ones under a weak prior that keeps them sensible while there are few trials.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
LENGTH, SPREAD, NOISE = 0.0, 0.75, float(np.log(0.05))
"""Prior of the logarithms: mean and deviation of a length, mean of the noise (deviation 1)."""
EPOCH_LENGTH = 1.0
"""Mean of the logarithm of the length along epochs."""
FITTED, STEPS = 100, 12
"""Measurements from which lengths are fitted at most, and steps of the optimiser."""
JITTER, DRAWN = 1e-8, 1e-6
"""What is added to the variances of measurements and of what is drawn, against rounding."""


class CurveModel:
    """What may be measured at a point, given all that was measured."""

    def __init__(self, inputs: Floats, values: Floats, random: np.random.Generator) -> None:
        """`inputs` (n, coordinates) end with the epoch, `values` are (n, objectives)."""
        some: slice | NDArray[np.intp] = slice(None)
        if len(inputs) > FITTED:
            some = np.sort(random.choice(len(inputs), FITTED, replace=False))
        fitted = _fit(inputs[some], values[some])
        self._lengths = np.exp(fitted[:-1])
        self._inputs = inputs / self._lengths
        covariance = _matern(_squares(self._inputs, self._inputs))[0]
        covariance[np.diag_indices(len(inputs))] += np.exp(fitted[-1]) + JITTER
        self._root = cholesky(covariance, lower=True)
        self._weights = cho_solve((self._root, True), values)
        self._scales = np.sqrt((values * self._weights).sum(axis=0) / len(values))

    def draw(self, inputs: Floats, random: np.random.Generator) -> Floats:
        """Return one sample (n, objectives) of the functions that fit, at n inputs together."""
        asked = inputs / self._lengths
        shared = _matern(_squares(asked, self._inputs))[0]
        explained = solve_triangular(self._root, shared.T, lower=True)
        covariance = _matern(_squares(asked, asked))[0] - explained.T @ explained
        covariance[np.diag_indices(len(asked))] += DRAWN
        root = cholesky(covariance, lower=True)
        drawn = root @ random.normal(size=(len(asked), len(self._scales)))
        return np.asarray(shared @ self._weights + drawn * self._scales, dtype=np.float64)


def _fit(inputs: Floats, values: Floats) -> Floats:
    """Return the most probable logarithms of lengths and noise."""
    count, outputs = values.shape
    mean = np.full(inputs.shape[1] + 1, LENGTH)
    mean[-2:] = EPOCH_LENGTH, NOISE
    spread = np.append(np.full(inputs.shape[1], SPREAD), 1.0)

    def loss(asked: Floats) -> tuple[float, Floats]:
        scaled, noise = inputs / np.exp(asked[:-1]), np.exp(asked[-1])
        covariance, slope = _matern(_squares(scaled, scaled))
        covariance[np.diag_indices(count)] += noise + JITTER
        root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        inverse = cho_solve((root, True), np.eye(count), check_finite=False)
        weights = inverse @ values
        scales = (values * weights).sum(axis=0) / count + JITTER
        fault = count * np.log(scales).sum() / 2 + outputs * np.log(np.diag(root)).sum()
        pull = outputs * inverse - (weights / scales) @ weights.T
        along = pull * slope
        # The sum of `along` times the squared differences of a coordinate, for each coordinate.
        lengths = (scaled**2 * along.sum(axis=1)[:, None] - scaled * (along @ scaled)).sum(axis=0)
        away = (asked - mean) / spread
        slopes = np.append(lengths, noise * np.trace(pull) / 2) + away / spread
        return float(fault + np.square(away).sum() / 2), slopes

    bounds = [(-3.0, 4.0)] * inputs.shape[1] + [(-9.0, 1.0)]
    found = minimize(
        loss, mean, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    )
    return np.asarray(found.x, dtype=np.float64)


def _matern(squares: Floats) -> tuple[Floats, Floats]:
    """Return the covariance, and its slope by the logarithm of a length per squared difference."""
    distance = np.sqrt(5.0 * squares)
    decay = np.exp(-distance)
    return (1.0 + distance + distance**2 / 3.0) * decay, 5.0 / 3.0 * (1.0 + distance) * decay


def _squares(one: Floats, other: Floats) -> Floats:
    """Return the squared distances (n, m) of two sets of rows."""
    norms = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    return np.asarray(np.maximum(norms - 2.0 * one @ other.T, 0.0), dtype=np.float64)
