"""A student's epoch against the published way of training it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.baselines.student_loop import Loop
from benchmarks.measure import in_turns
from benchmarks.networks import (
    backbone_config,
    make_dataset,
    make_knowledge,
    make_teachers,
    one_epoch,
    student_trainer,
)
from benchmarks.rows import Aim, Row, row
from refkd.training.knowledge import CachedTeachers, LiveTeachers
from refkd.training.student import StudentTask

CASES = (
    ("VSLNet-rnn", {"predictor": "rnn"}),
    ("VSLNet-transformer", {"predictor": "transformer"}),
    ("SeqPAN", {"name": "seqpan"}),
)


def run(smoke: bool) -> Iterator[Row]:
    """Yield the published way over ours; both take the same steps on the same batches."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = make_dataset(folder, smoke=smoke)
        for case, settings in CASES:
            config = backbone_config(smoke=smoke, **settings)
            teachers = make_teachers(config, dataset)
            live = student_trainer(config, dataset, LiveTeachers(*teachers)).task
            assert isinstance(live, StudentTask)
            loop = Loop(live, dataset)
            cached = CachedTeachers(*make_knowledge(teachers, dataset, folder))
            student = student_trainer(config, dataset, cached)
            turns = in_turns(
                loop.epoch, partial(one_epoch, student, dataset), repeats=1 if smoke else 5
            )
            note = f"{turns}, {len(dataset.role('fit'))} pairs of 60 clips on average, float32"
            yield row("student_epoch", case, turns.ratios, aim=Aim(at=">=", bound=3), note=note)
