"""Preparing a dataset: labels of moments, and memory while features are packed."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import labels
from benchmarks.measure import in_turns
from benchmarks.rows import Aim, Row, row
from refkd.data.grid import MAX_CLIPS, time_to_index
from refkd.data.store import pack
from refkd.seeds import generator


@dataclass(slots=True)
class Made:
    """Features of any number of videos that take no memory until they are read."""

    layout: str
    rows: int
    dim: int

    def __contains__(self, video: str) -> bool:
        return True

    def where(self, video: str) -> str:
        """Return what errors would name."""
        return video

    def read(self, video: str) -> NDArray[Any]:
        """Return a video's rows."""
        return np.full((self.rows, self.dim), float(len(video)), dtype=np.float32)


def run(smoke: bool) -> Iterator[Row]:
    """Yield a search over all spans over ours, and peak memory at 4 times the videos."""
    pairs, repeats = (20, 1) if smoke else (2000, 5)
    random = generator("benchmark", "prepare")
    moments = np.sort(random.uniform(0, 30, (pairs, 2)), axis=1)
    clips, duration = np.full(pairs, MAX_CLIPS), np.full(pairs, 30.0)

    def baseline() -> list[tuple[int, int]]:
        return [labels.time_to_index(moment, MAX_CLIPS, 30.0) for moment in moments]

    def ours() -> NDArray[np.int64]:
        return time_to_index(moments, clips, duration)

    assert np.array_equal(baseline(), ours())
    turns = in_turns(baseline, ours, repeats=repeats)
    rate = pairs / float(np.median(turns.ours))
    aim = Aim(at=">=", bound=50)
    note = f"{turns}; {rate:,.0f} pairs a second"
    yield row("prepare", f"labels of {pairs} pairs", turns.ratios, aim=aim, note=note)

    few = 8 if smoke else 200
    peaks = [_peak(few), _peak(4 * few)]
    case = f"peak memory, {4 * few} / {few} videos"
    note = f"{peaks[1] / 1e6:.1f} MB against {peaks[0] / 1e6:.1f} MB"
    bound = Aim(at="<=", bound=1.1)
    yield row("prepare", case, [peaks[1] / peaks[0]], clock="none", aim=bound, note=note)


def _peak(videos: int) -> int:
    """Return the most bytes that packing holds at once."""
    names = [f"video{i}" for i in range(videos)]
    with tempfile.TemporaryDirectory() as folder:
        tracemalloc.start()
        pack(Made("made", 200, 512), names, Path(folder) / "features.h5", max_clips=MAX_CLIPS)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak
