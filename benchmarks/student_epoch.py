"""A student's epoch against the published way of training it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.baselines.student_loop import Loop
from benchmarks.lengths import LENGTHS
from benchmarks.limit import at_peak
from benchmarks.measure import Work, in_rotation, seconds
from benchmarks.networks import (
    backbone_config,
    make_dataset,
    make_knowledge,
    make_teachers,
    one_epoch,
    student_trainer,
)
from benchmarks.rows import Aim, Row, row
from benchmarks.same_score import score_rows
from refkd.data.dataset import Dataset
from refkd.training.knowledge import CachedTeachers, LiveTeachers
from refkd.training.precision import bfloat16_gain
from refkd.training.student import StudentTask

CASES = (
    ("VSLNet-rnn", {"predictor": "rnn"}),
    ("VSLNet-transformer", {"predictor": "transformer"}),
    ("SeqPAN", {"name": "seqpan"}),
)
WHY = """The student's own operations are the limit, the same in both ways: the notes tell what
they would take if all ran as fast as a large matrix product does on this core, and so the most
that there can be. Convolutions, LSTMs and attention of these sizes do not reach that.
ActivityNet's lengths leave less padding to save."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield the published way over ours; both see every pair once, in batches of 32.

    In bfloat16 only where this processor computes it faster than float32.
    """
    gain = bfloat16_gain()
    precisions = ("float32", "bfloat16") if gain > 1 else ("float32",)
    told = "measured below" if gain > 1 else "so it is not measured here"
    note = f"a product of 256 x 256, of this processor's own instructions or none; {told}"
    yield row("student_epoch", "bfloat16 / float32 of this core", [gain], clock="wall", note=note)
    with tempfile.TemporaryDirectory() as name:
        for lengths in LENGTHS:
            folder = Path(name) / lengths
            folder.mkdir()
            dataset = make_dataset(folder, smoke=smoke, lengths=lengths)
            for case, settings in CASES:
                yield from _case(
                    f"{case}, {lengths}", settings, dataset, folder, precisions, smoke
                )
    yield from score_rows(precisions, smoke)


def _case(
    case: str,
    settings: dict[str, str],
    dataset: Dataset,
    folder: Path,
    precisions: tuple[str, ...],
    smoke: bool,
) -> Iterator[Row]:
    config = backbone_config(smoke=smoke, **settings)
    teachers = make_teachers(config, dataset)
    cached = CachedTeachers(*make_knowledge(teachers, dataset, folder))
    live = student_trainer(config, dataset, LiveTeachers(*teachers)).task
    assert isinstance(live, StudentTask)
    ours = [
        student_trainer(config, dataset, cached, precision=precision) for precision in precisions
    ]
    works: list[Work] = [Loop(live, dataset).epoch]
    works += [partial(one_epoch, t, dataset) for t in ours]
    baseline, *found = in_rotation(works, repeats=1 if smoke else 3)
    fit = dataset.role("fit")
    for precision, trainer, taken in zip(precisions, ours, found, strict=True):
        count, least = at_peak(trainer, dataset, precision)
        limit = (
            f"{count:.3g} operations, at this core's peak {seconds(least)}, so that "
            f"{median(baseline) / least:.2g} x is the most there can be"
        )
        times = f"{seconds(median(baseline))} / {seconds(median(taken))}"
        yield row(
            "student_epoch",
            f"{case}, {precision}",
            [b / o for b, o in zip(baseline, taken, strict=True)],
            aim=Aim(at=">=", bound=3),
            note=f"{times} for {len(fit)} pairs of {fit.clips.mean():.0f} clips; ours: {limit}",
        )
