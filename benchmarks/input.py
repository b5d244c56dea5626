"""What reading batches costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.baselines.loader import loader
from benchmarks.measure import in_turns, timed
from benchmarks.networks import backbone_config, make_dataset, supervised_trainer
from benchmarks.rows import Aim, Row, row
from refkd.data.batches import training_batches
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.training.trainer import Trainer

CASES = (("VSLNet-rnn", {"predictor": "rnn"}), ("SeqPAN", {"name": "seqpan"}))
STEPS = 4
"""Batches of a turn."""
READS = 10
"""Times they are read at once: once is too short for the clock."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield a DataLoader over our batches, their share of a step, and the first batch."""
    repeats = 1 if smoke else 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = make_dataset(folder, smoke=smoke)
        pairs = dataset.role("fit")
        for row_, video in enumerate(pairs.video_ids):
            np.save(folder / f"{video}.npy", pairs.batch([row_]).features[0].half().numpy())
        plain = loader(folder, pairs.video_ids)

        def ours() -> None:
            for rows in training_batches(pairs, batch_size=32, seed=0, epoch=0, pool=16):
                pairs.batch(rows)

        def first() -> None:
            Dataset.open(dataset.path).role("fit").batch(np.arange(min(32, len(pairs))))

        turns = in_turns(lambda: list(plain), ours, repeats=repeats)
        yield row("input", "DataLoader / batches", turns.ratios, note=str(turns))
        for case, settings in CASES:
            trainer = supervised_trainer(backbone_config(smoke=smoke, **settings), dataset)
            shares = _shares(trainer, pairs, repeats)
            aim = Aim(at="<=", bound=2)
            yield row("input", f"share of a plain {case} step", shares, unit="%", aim=aim)
        opened = [timed(first) for _ in range(repeats)]
        aim = Aim(at="<=", bound=0.2)
        case = f"open, and the first batch of {len(pairs)} pairs"
        yield row("input", case, opened, unit="s", aim=aim)


def _shares(trainer: Trainer, pairs: Pairs, repeats: int) -> list[float]:
    """Return what making batches takes of the time of making them and stepping, in percent."""
    drawn = list(trainer.batches(0))[:STEPS]
    trainer.task.module.train()

    def read() -> None:
        for rows in drawn * READS:
            pairs.batch(rows)

    def train() -> None:
        for rows in drawn:
            trainer.step(pairs.batch(rows), 0)

    train()
    return [100 * timed(read) / READS / timed(train) for _ in range(repeats)]
