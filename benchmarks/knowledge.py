"""What the teachers cost a student's step: read from disk, or run in the loop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import in_turns, timed
from benchmarks.networks import (
    backbone_config,
    make_dataset,
    make_knowledge,
    make_teachers,
    student_trainer,
)
from benchmarks.rows import Aim, Row, row
from refkd.training.knowledge import CachedTeachers, LiveTeachers

READS = 50
"""Reads that are timed at once: one is too short for the clock."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield the share of a step that reading takes, then what live teachers take over it."""
    repeats = 1 if smoke else 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = make_dataset(folder, smoke=smoke)
        config = backbone_config(smoke=smoke)
        teachers = make_teachers(config, dataset)
        cached = CachedTeachers(*make_knowledge(teachers, dataset, folder))
        live, trainer = LiveTeachers(*teachers), student_trainer(config, dataset, cached)
        batch = dataset.role("fit").batch(np.arange(32))
        trainer.step(batch, 0)

        def read() -> None:
            for _ in range(READS):
                cached(batch)

        shares = [
            100 * timed(read) / READS / timed(lambda: trainer.step(batch, 0))
            for _ in range(repeats)
        ]
        aim = Aim(at="<=", bound=1)
        yield row("knowledge", "reading, share of a step, VSLNet-rnn", shares, unit="%", aim=aim)
        turns = in_turns(lambda: live(batch), read, repeats=repeats)
        ratios = [READS * ratio for ratio in turns.ratios]
        yield row("knowledge", "live teachers / reading", ratios)
