"""Preparing a dataset: labels of moments, features packed and joined, and word vectors."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import labels
from benchmarks.measure import in_turns
from benchmarks.rows import Aim, Row, row
from refkd.data.extraction import Extraction
from refkd.data.features import FeatureSource
from refkd.data.grid import MAX_CLIPS, time_to_index
from refkd.data.joined import joined
from refkd.data.store import pack
from refkd.seeds import generator


@dataclass(slots=True)
class Made:
    """Features of any number of videos that take no memory until they are read."""

    layout: str
    rows: int
    dim: int
    extraction: Extraction | None = None

    def __contains__(self, video: str) -> bool:
        return True

    def where(self, video: str) -> str:
        """Return what errors would name."""
        return video

    def read(self, video: str) -> NDArray[Any]:
        """Return a video's rows."""
        return np.full((self.rows, self.dim), float(len(video)), dtype=np.float32)

    def seconds(self, video: str) -> None:
        """Return nothing: there is no moment."""

    def missing(self, videos: Sequence[str]) -> str:
        """Return nothing: there is none."""
        return ""


ONE = Made("made", 200, 512)


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
    yield from _joining(8 if smoke else 1000)
    yield from _words(300 if smoke else 2_196_017)


def _peak(videos: int, source: FeatureSource = ONE) -> int:
    """Return the most bytes that packing holds at once."""
    tracemalloc.start()
    _pack(videos, source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _pack(videos: int, source: FeatureSource) -> None:
    names = [f"video{i}" for i in range(videos)]
    with tempfile.TemporaryDirectory() as folder:
        pack(source, names, Path(folder) / "features.h5", max_clips=MAX_CLIPS)


def _joining(videos: int) -> Iterator[Row]:
    """Yield what two sources side by side take over what the first alone takes."""
    both = joined({"one": ONE, "two": Made("made", 100, 2304)}, {"two"})
    turns = in_turns(lambda: _pack(videos, both), lambda: _pack(videos, ONE), repeats=1)
    case = f"{videos:,} videos, 512 and 2,304 columns joined / 512 alone"
    yield row("prepare", case, turns.ratios, note=str(turns))
    peaks = [_peak(videos, both) / 1e6, _peak(videos) / 1e6]
    note = f"{peaks[0]:.1f} MB against {peaks[1]:.1f} MB; {512 + 2304} columns for 512"
    yield row("prepare", "the same, peak memory", [peaks[0] / peaks[1]], clock="none", note=note)


READ = """
import resource, sys, time
from pathlib import Path
from refkd.data.vectors import read_vectors
before = time.process_time()
read_vectors(Path(sys.argv[1]), [f"w{i}" for i in range(0, 2_000_000, 400)], further=10_000)
print(time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _words(lines: int) -> Iterator[Row]:
    """Yield seconds and megabytes of reading word vectors with 300 numbers a line."""
    random = generator("benchmark", "words")
    some = [" ".join(f"{x:.5f}" for x in random.normal(size=300)) for _ in range(200)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.txt"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"w{i} {some[i % len(some)]}\n" for i in range(lines))
        said = subprocess.run(
            [sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True
        )
        size = path.stat().st_size / 1e9
    seconds, peak = map(float, said.stdout.split())
    case, note = f"word vectors, {lines:,} lines", f"a file of {size:.1f} GB"
    yield row("prepare", case, [seconds], unit="s", aim=Aim(at="<=", bound=60), note=note)
    bound = Aim(at="<=", bound=500)
    yield row("prepare", f"{case}, peak memory", [peak], unit="MB", clock="none", aim=bound)
