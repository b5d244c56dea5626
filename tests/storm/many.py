"""Running schedules of faults: one with all its steps, or many until the first broken rule."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from optuna.exceptions import ExperimentalWarning
from storm.patches import patched
from storm.rules import broken, outcome
from storm.schedule import Schedule, draw
from storm.world import World

from refkd.scoped import log_levels

MEMORY = Path("/dev/shm")
"""Where the marks of what was sent are kept, if there is such a folder."""


def run(schedule: Schedule, tell: Callable[[str], None] = lambda _: None) -> list[str]:
    """Return which rules a schedule breaks, in a sentence each."""
    faults, found = _run(schedule, tell)
    if not faults and schedule.repeats and schedule != schedule.calm:
        _, calm = _run(schedule.calm, lambda _: None)
        faults = [
            f"without the faults trial {a[0]} is {a[1:]}, with them {b[1:]}"
            for a, b in zip(calm, found, strict=True)
            if a != b
        ]
    return faults


def storm(seeds: Iterable[int], said: Callable[[str], None] = print) -> list[int]:
    """Run schedules and return the seeds of those that break a rule, after saying which."""
    bad: list[int] = []
    for seed in seeds:
        with log_levels({"optuna": logging.WARNING, "tune": logging.CRITICAL}):
            faults = run(draw(seed))
        if faults:
            bad.append(seed)
            said(f"seed {seed}: {'; '.join(faults)[:1000]}")
    return bad


def _run(schedule: Schedule, tell: Callable[[str], None]) -> tuple[list[str], list[object]]:
    place = MEMORY if MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="refkd-storm-", dir=place))
    world = World(schedule, folder, tell)
    try:
        with warnings.catch_warnings(), patched(world):
            warnings.simplefilter("ignore", ExperimentalWarning)
            world.run()
            if not world.broken:
                world.sync()
                world.broken += broken(world)
        return world.broken, outcome(world)
    finally:
        world.close()
        shutil.rmtree(folder)
