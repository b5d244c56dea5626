"""What an event costs in a simulated search: an ask, or an epoch that is stored and judged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.measure import cpu_seconds, seconds
from benchmarks.rows import Aim, Row, row
from benchmarks.studies import made_curves, study_file
from tune.config.study_file import StudyFile
from tune.simulation.curves import CurveTable
from tune.simulation.simulator import simulate_search

WHY = """Four tenths of an event are Optuna's own: asking, drawing, and a copy of the trial for
each fact that is stored. The rest is views, the standing at a rung and the hashes of the
events."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield milliseconds an event with no sampler to speak of, then what a sampler adds."""
    repeats = 1 if smoke else 7
    table = made_curves()
    for trials in (5,) if smoke else (30, 100, 300):
        with tempfile.TemporaryDirectory() as name:
            make = partial(study_file, Path(name), budget={"trials": trials}, workers=3)
            drawn, modelled = make(), make(sampler={"name": "tpe"})
        times = [_an_event(drawn, table) for _ in range(repeats)]
        aim = Aim(at="<=", bound=0.2) if trials in (5, 100) else None
        yield row("simulator", f"{trials} trials, random sampler", times, unit="ms", aim=aim)
        if trials <= 100:
            whole = [_an_event(modelled, table) for _ in range(repeats)]
            share = 1 - median(times) / median(whole)
            note = f"{share:.0%} of {seconds(median(whole) / 1000)} an event is Optuna's TPE"
            yield row("simulator", f"{trials} trials, TPE", whole, unit="ms", note=note)


def _an_event(file: StudyFile, table: CurveTable) -> float:
    begun = cpu_seconds()
    events = simulate_search(file.search_spec(), table).events
    return 1000 * (cpu_seconds() - begun) / events
