"""Temporal intersection over union of spans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Spans = NDArray[np.float64]
"""(..., 2) start and end in one unit; leading axes broadcast."""


def intersection(a: Spans, b: Spans) -> NDArray[np.float64]:
    """Return the length shared by two arrays of spans, 0 where they do not meet."""
    shared = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    positive: NDArray[np.float64] = np.maximum(shared, 0.0)
    return positive


def temporal_iou(a: Spans, b: Spans) -> NDArray[np.float64]:
    """Return intersection over hull in [0, 1], 0 where the hull is empty.

    The hull equals the union wherever spans overlap, and the numerator is 0 elsewhere.

    >>> temporal_iou(np.array([2.0, 6.0]), np.array([[4.0, 8.0], [6.0, 9.0]])).tolist()
    [0.3333333333333333, 0.0]
    """
    hull = np.maximum(a[..., 1], b[..., 1]) - np.minimum(a[..., 0], b[..., 0])
    shared = intersection(a, b)
    iou: NDArray[np.float64] = np.divide(shared, hull, out=np.zeros_like(shared), where=hull != 0)
    return iou


def temporal_iou_of_lengths(a: Spans, b: Spans) -> NDArray[np.float64]:
    """Return intersection over (sum of lengths - intersection + 1e-4 s): Hao et al.'s form."""
    shared = intersection(a, b)
    lengths = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0])
    iou: NDArray[np.float64] = shared / (lengths - shared + 1e-4)
    return iou
