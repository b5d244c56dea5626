"""Whether a driver's work for an event grows with the study, or with what runs at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.measure import cpu_seconds, seconds
from benchmarks.rows import Aim, Row, row
from benchmarks.studies import drive, made_curves, study_file
from tune.simulation.simulator import simulate_search
from tune.study.search_study import SearchStudy

FLAT = Aim(at="<=", bound=1.5)
WINDOW = 20
"""Trials that are timed at each size."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield how much longer an event takes in a large study, and with many trials at once."""
    repeats = 1 if smoke else 3
    sizes = (10, 20) if smoke else (10, 100, 1000)
    grown = [_grow(sizes) for _ in range(repeats)]
    for size in sizes[1:]:
        ratios = [times[size] / times[sizes[0]] for times in grown]
        at = [seconds(median(times[s] for times in grown)) for s in (sizes[0], size)]
        case = f"an event at {size} / {sizes[0]} trials, SQLite"
        aim = FLAT if size == sizes[-1] else None
        yield row("scale", case, ratios, aim=aim, note=f"{at[1]} against {at[0]}, random sampler")
    few, *more = (2, 4) if smoke else (8, 64, 256)
    trials = 10 if smoke else 300
    crowds = [{n: _crowd(n, trials) for n in (few, *more)} for _ in range(repeats)]
    for many in more:
        ratios = [times[many] / times[few] for times in crowds]
        case = f"an event with {many} / {few} trials at once, simulated"
        aim = FLAT if many == more[-1] else None
        yield row("scale", case, ratios, aim=aim, note=f"{trials} trials in the study")


def _grow(sizes: tuple[int, ...]) -> dict[int, float]:
    """Grow a study, and return the seconds an event takes at each size."""
    times = {}
    with tempfile.TemporaryDirectory() as name:
        file = study_file(Path(name), budget={"trials": sizes[-1] + WINDOW})
        study = SearchStudy(file.search_spec(), f"sqlite:///{name}/study.db")
        study.begin_launch()
        for size in sizes:
            drive(study, size - len(study.views()))
            begun = cpu_seconds()
            events = drive(study, WINDOW // 2 if size == sizes[0] else WINDOW)
            times[size] = (cpu_seconds() - begun) / events
    return times


def _crowd(workers: int, trials: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        file = study_file(Path(name), budget={"trials": trials}, workers=workers)
    begun = cpu_seconds()
    events = simulate_search(file.search_spec(), made_curves()).events
    return (cpu_seconds() - begun) / events
