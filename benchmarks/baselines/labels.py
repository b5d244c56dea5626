"""The label of a moment by search: the span of clips that overlaps it most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def time_to_index(moment: NDArray[np.float64], clips: int, duration: float) -> tuple[int, int]:
    """Return the best of all spans of a video, the first in row-major order where several are."""
    edges = np.arange(clips + 1) * duration / clips
    left, right = edges[:-1, None], edges[None, 1:]
    shared = np.minimum(right, moment[1]) - np.maximum(left, moment[0])
    hull = np.maximum(right, moment[1]) - np.minimum(left, moment[0])
    overlap = np.triu(np.maximum(shared, 0.0) / hull)
    best = int(overlap.argmax())
    return best // clips, best % clips
