"""What distillation adds to training a network plainly."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.limit import operations
from benchmarks.measure import in_turns
from benchmarks.networks import (
    backbone_config,
    make_dataset,
    make_knowledge,
    make_teachers,
    one_epoch,
    student_trainer,
    supervised_trainer,
)
from benchmarks.rows import Aim, Row, row
from refkd.training.knowledge import CachedTeachers

CASES = (("rnn", 1.2), ("transformer", 1.6))
WHY = """A student has three span predictors where the plain network has one, which alone is 1.76
(rnn) and 2.10 (transformer) times the operations: the aims could be met only if the trunk computed
less efficiently than the predictors do."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield a RefKD student's epoch over a plain epoch of the same backbone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = make_dataset(folder, smoke=smoke)
        for predictor, bound in CASES:
            config = backbone_config(smoke=smoke, predictor=predictor)
            teachers = make_teachers(config, dataset)
            cached = CachedTeachers(*make_knowledge(teachers, dataset, folder))
            student = student_trainer(config, dataset, cached)
            plain = supervised_trainer(config, dataset)
            turn = partial(one_epoch, student, dataset), partial(one_epoch, plain, dataset)
            turns = in_turns(*turn, repeats=1 if smoke else 3, warm=False)
            more = operations(turn[0]) / operations(turn[1])
            note = f"{turns}; three span predictors for one: {more:.2f} times the operations"
            aim = Aim(at="<=", bound=bound)
            yield row("distill_cost", f"VSLNet-{predictor}", turns.ratios, aim=aim, note=note)
