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
from refkd.training.student import StudentTask

CASES = (
    ("VSLNet-rnn", {"predictor": "rnn"}),
    ("VSLNet-transformer", {"predictor": "transformer"}),
    ("SeqPAN", {"name": "seqpan"}),
)
PRECISIONS = ("float32", "bfloat16")
WHY = """The student's own operations are the limit, which are the same in both ways. A float32
step of VSLNet-rnn at 64 clips has 19.6 GFLOP: about 220 ms at the core's matmul peak of the
about 300 ms that it takes, and of the 756 ms of the published way, so that 3.4 is the most
there can be on Charades' lengths. ActivityNet's leave less padding to save. With
`training.precision: bfloat16`, whose scores are compared below, the peak is more than twice as
high."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield the published way over ours; both see every pair once, in batches of 32."""
    with tempfile.TemporaryDirectory() as name:
        for lengths in LENGTHS:
            folder = Path(name) / lengths
            folder.mkdir()
            dataset = make_dataset(folder, smoke=smoke, lengths=lengths)
            for case, settings in CASES:
                yield from _case(f"{case}, {lengths}", settings, dataset, folder, smoke)
    yield from score_rows(smoke)


def _case(
    case: str, settings: dict[str, str], dataset: Dataset, folder: Path, smoke: bool
) -> Iterator[Row]:
    config = backbone_config(smoke=smoke, **settings)
    teachers = make_teachers(config, dataset)
    cached = CachedTeachers(*make_knowledge(teachers, dataset, folder))
    live = student_trainer(config, dataset, LiveTeachers(*teachers)).task
    assert isinstance(live, StudentTask)
    ours = [
        student_trainer(config, dataset, cached, precision=precision) for precision in PRECISIONS
    ]
    works: list[Work] = [Loop(live, dataset).epoch]
    works += [partial(one_epoch, t, dataset) for t in ours]
    baseline, *found = in_rotation(works, repeats=1 if smoke else 3)
    fit = dataset.role("fit")
    for precision, trainer, taken in zip(PRECISIONS, ours, found, strict=True):
        limit = at_peak(trainer, dataset, precision)
        times = f"{seconds(median(baseline))} / {seconds(median(taken))}"
        yield row(
            "student_epoch",
            f"{case}, {precision}",
            [b / o for b, o in zip(baseline, taken, strict=True)],
            aim=Aim(at=">=", bound=3),
            note=f"{times} for {len(fit)} pairs of {fit.clips.mean():.0f} clips; ours: {limit}",
        )
