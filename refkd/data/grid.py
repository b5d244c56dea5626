"""The clip grid: rows of features to clips, and seconds to clips and back.

A video of `duration` seconds has n clips; clip i spans [i, i + 1) · duration / n, and the end clip
of a span is inclusive. Letters in shapes: T rows, n clips, V feature dimension, N moments.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_CLIPS = 128
"""Clips a video has at most; longer videos are mean-pooled (L_max of VSLNet)."""


Resample = Literal["shorten", "always"]
"""Which videos are resampled to the most clips: the longer ones, or all of them."""


def pool(
    features: NDArray[np.floating], max_clips: int, resample: Resample = "shorten"
) -> NDArray[np.float32]:
    """Return at most `max_clips` clips (n, V) of the rows (T, V) of a video.

    With `shorten`, T ≤ max_clips rows stay as they are; with `always` every video gets
    `max_clips`. Rows are averaged between the bounds round(i · T / n), clipped to T - 1, half to
    even; an empty range takes the row at its bound (VSLNet's `visual_feature_sampling`).

    >>> pool(np.arange(6.0)[:, None], 3).ravel().tolist()
    [0.5, 2.5, 4.0]
    >>> pool(np.arange(2.0)[:, None], 4, "always").ravel().tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    rows = len(features)
    if rows == max_clips or (resample == "shorten" and rows < max_clips):
        return np.asarray(features, dtype=np.float32)
    bounds = np.round(np.arange(max_clips + 1) / max_clips * rows).astype(np.int64)
    bounds = np.minimum(bounds, rows - 1)
    # reduceat yields the single row where a range is empty: just what the rule asks for.
    sums = np.add.reduceat(features, bounds, axis=0, dtype=np.float64)[:-1]
    counts = np.maximum(np.diff(bounds), 1)
    return (sums / counts[:, None]).astype(np.float32)


def index_to_time(
    spans: NDArray[np.int64], clips: NDArray[np.int64], duration: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 2) seconds of inclusive spans (N, 2) on grids of `clips` (N,) clips.

    >>> index_to_time(np.array([[0, 1]]), np.array([4]), np.array([10.0])).tolist()
    [[0.0, 5.0]]
    """
    step = np.asarray(duration, dtype=np.float64) / clips
    return np.stack([spans[:, 0] * step, (spans[:, 1] + 1) * step], axis=1)


def clean(moments: NDArray[np.float64], duration: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the moments (N, 2) clamped to [0, duration], the order of their ends untouched."""
    limit = np.asarray(duration, dtype=np.float64)[:, None]
    return np.clip(np.asarray(moments, dtype=np.float64), 0.0, limit)


def time_to_index(moments: ArrayLike, clips: ArrayLike, duration: ArrayLike) -> NDArray[np.int64]:
    """Return the spans (N, 2) with the greatest IoU with the clamped moments (N, 2) in seconds.

    Only four spans can be best: start at ⌊a⌋ or ⌈a⌉, end at ⌊b⌋ - 1 or ⌈b⌉ - 1, where a and b are
    the moment's ends in clips. Ties go to the smaller start, then to the smaller end, as in a
    search over all spans in row-major order. Empty and reversed moments get (0, 0).

    >>> time_to_index([[2.0, 5.1], [7.0, 3.0]], [10, 10], [10.0, 10.0]).tolist()
    [[2, 4], [0, 0]]
    """
    length = np.asarray(duration, dtype=np.float64)
    count = np.asarray(clips, dtype=np.int64)
    seconds = clean(np.asarray(moments, dtype=np.float64).reshape(-1, 2), length)
    a, b = (seconds * (count / length)[:, None]).T
    last = count - 1
    starts = np.clip([np.floor(a), np.floor(a), np.ceil(a), np.ceil(a)], 0, last)
    ends = np.clip([np.floor(b) - 1, np.ceil(b) - 1] * 2, 0, last)
    overlap = _iou(starts, ends, seconds, length / count)
    best = np.argmax(overlap, axis=0)
    columns = np.arange(len(seconds))
    spans = np.stack([starts[best, columns], ends[best, columns]], axis=1).astype(np.int64)
    spans[overlap[best, columns] <= 0.0] = 0
    return spans


def _iou(
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    moments: NDArray[np.float64],
    step: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the (4, N) overlaps of candidate spans; a span that ends before it starts has 0."""
    left, right = starts * step, (ends + 1) * step
    shared = np.minimum(right, moments[:, 1]) - np.maximum(left, moments[:, 0])
    hull = np.maximum(right, moments[:, 1]) - np.minimum(left, moments[:, 0])
    valid = (ends >= starts) & (moments[:, 1] > moments[:, 0])
    overlap: NDArray[np.float64] = np.divide(
        np.maximum(shared, 0.0), hull, out=np.zeros_like(hull), where=valid
    )
    return overlap
