"""What one core of this machine can do at most: the limits that figures are held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.measure import Work, wall_seconds

REPEATS = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Peaks:
    """The best of some repeats, on one thread."""

    gflops: float
    """Of a product of two large float32 matrices, in 10^9 operations a second."""
    gbytes: float
    """Read and written by a copy far larger than any cache, in 10^9 bytes a second."""

    def __str__(self) -> str:
        return (
            f"One core multiplies float32 matrices at {self.gflops:.0f} GFLOP/s and copies memory "
            f"at {self.gbytes:.1f} GB/s (read and written), the best of {REPEATS} in the same run."
        )


def measure_peaks(*, side: int = 1024, size: int = 1 << 28) -> Peaks:
    """Return the peaks, by a product of `side` x `side` matrices and a copy of `size` bytes."""
    torch.set_num_threads(1)
    matrix = torch.ones(side, side)
    source, target = np.ones(size, dtype=np.uint8), np.empty(size, dtype=np.uint8)
    return Peaks(
        gflops=2e-9 * side**3 / _best(lambda: matrix @ matrix),
        gbytes=2e-9 * size / _best(lambda: np.copyto(target, source)),
    )


def _best(work: Work) -> float:
    """Return the fewest seconds; others who use the machine only ever add to it."""
    times = []
    for _ in range(REPEATS + 1):
        begun = wall_seconds()
        work()
        times.append(wall_seconds() - begun)
    return min(times[1:])
