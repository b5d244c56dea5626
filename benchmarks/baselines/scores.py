"""Scores and their intervals, a prediction and a resample at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0.3, 0.5, 0.7)

Array = NDArray[np.float64]


def evaluate(
    predictions: list[tuple[float, float]],
    moments: list[tuple[float, float]],
    videos: list[str],
    *,
    resamples: int,
    seed: int,
) -> tuple[Array, Array, Array]:
    """Return means, lower and upper 95 % bounds of mIoU and R1, over resampled videos."""
    rows = []
    for (begin, end), (first, last) in zip(predictions, moments, strict=True):
        shared = max(0.0, min(end, last) - max(begin, first))
        overlap = shared / (max(end, last) - min(begin, first))
        rows.append([100.0 * overlap, *(100.0 * (overlap >= t) for t in THRESHOLDS)])
    values = np.array(rows)
    of_video: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        of_video.setdefault(video, []).append(row)
    pieces = [np.array(found) for found in of_video.values()]
    random = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = random.integers(len(pieces), size=len(pieces))
        means.append(values[np.concatenate([pieces[v] for v in drawn])].mean(axis=0))
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return values.mean(axis=0), low, high
