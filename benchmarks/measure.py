"""Clocks, and turns: two ways of doing the same work measured one after the other, repeatedly.

A machine that others use too makes whatever runs at that moment slow; what is measured in turns
is disturbed alike. The processor's clock leaves out the time in which others were served, so it
is used wherever a figure is no waiting.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

Work = Callable[[], object]


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(work: Work, clock: Callable[[], float] = cpu_seconds) -> float:
    """Return the seconds that some work takes."""
    gc.collect()
    begun = clock()
    work()
    return clock() - begun


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Seconds of each turn of a baseline and of refkd."""

    baseline: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Baseline over refkd, turn by turn."""
        return [b / o for b, o in zip(self.baseline, self.ours, strict=True)]

    def __str__(self) -> str:
        return f"{seconds(median(self.baseline))} / {seconds(median(self.ours))}"


def in_turns(
    baseline: Work,
    ours: Work,
    *,
    repeats: int,
    clock: Callable[[], float] = cpu_seconds,
    warm: bool = True,
) -> Turns:
    """Measure two ways in turns, each once unmeasured before where `warm`."""
    if warm:
        baseline()
        ours()
    turns = Turns()
    for turn in range(repeats):
        order = [(baseline, turns.baseline), (ours, turns.ours)]
        for work, told in order if turn % 2 == 0 else reversed(order):
            told.append(timed(work, clock))
    return turns


def in_rotation(works: Sequence[Work], *, repeats: int) -> list[list[float]]:
    """Return the processor's seconds of each of several ways, every way once a turn."""
    told: list[list[float]] = [[] for _ in works]
    for turn in range(repeats):
        order = list(zip(works, told, strict=True))
        for work, times in order if turn % 2 == 0 else reversed(order):
            times.append(timed(work))
    return told


def seconds(value: float) -> str:
    """Return seconds as people read them.

    >>> seconds(0.00042), seconds(0.25), seconds(51.2)
    ('0.42 ms', '250 ms', '51.2 s')
    """
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} s"


wall_seconds = time.perf_counter
