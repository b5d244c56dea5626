"""What validation keeps of each pair."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.models import VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.checkpoint import Checkpoint
from refkd.training.config import TrainingConfig
from refkd.training.export import keep_history
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.trainer import Trainer
from refkd.training.validated import VALIDATED, read_history

EPOCHS = 3


def fresh(dataset: Dataset, network: VSLNetConfig) -> Trainer:
    training = TrainingConfig(epochs=EPOCHS, learning_rate=3e-3, batch_size=16)
    config = TeacherConfig(backbone=network, recipe=RecipeConfig.named("id"), training=training)
    return teacher_trainer(config, dataset)


@pytest.fixture(scope="module")
def checkpoints(tiny_dataset: Dataset, network: VSLNetConfig) -> list[Checkpoint]:
    trainer = fresh(tiny_dataset, network)
    return [deepcopy(trainer.checkpoint()) for _ in trainer.epochs()]


def kept_after(
    checkpoint: Checkpoint, dataset: Dataset, network: VSLNetConfig, folder: Path
) -> bytes:
    """Return the file of a run that goes on from a checkpoint to its end."""
    trainer = fresh(dataset, network)
    trainer.restore(checkpoint)
    for _ in trainer.epochs():
        keep_history(trainer, dataset, folder)
    keep_history(trainer, dataset, folder)
    return (folder / VALIDATED).read_bytes()


def test_the_mean_over_the_pairs_of_an_epoch_is_its_score(
    checkpoints: list[Checkpoint], tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path
) -> None:
    trainer = fresh(tiny_dataset, network)
    trainer.restore(checkpoints[-1])
    digest = keep_history(trainer, tiny_dataset, tmp_path)
    found = read_history(tmp_path, sha256=digest)
    assert found is not None
    for role, rows in found.tiou.items():
        assert rows.dtype == np.float16
        assert rows.shape == (EPOCHS, len(tiny_dataset.role(role)))  # type: ignore[arg-type]
        scores = [result.metrics[f"{role}/miou"] for result in trainer.history]
        assert 100 * rows.astype(float).mean(axis=1) == pytest.approx(scores, abs=0.05)


def test_a_run_that_was_killed_keeps_the_same_bytes(
    checkpoints: list[Checkpoint], tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path
) -> None:
    straight, *others = [
        kept_after(one, tiny_dataset, network, tmp_path / str(one.epoch)) for one in checkpoints
    ]
    assert others == [straight] * (EPOCHS - 1)


def test_a_run_goes_on_from_a_checkpoint_that_kept_no_pairs(
    checkpoints: list[Checkpoint], tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path
) -> None:
    first = checkpoints[0]
    tensors = {k: v for k, v in first.tensors.items() if not k.startswith("tiou/")}
    older = Checkpoint(epoch=first.epoch, tensors=tensors, facts=first.facts)
    kept_after(older, tiny_dataset, network, tmp_path)
    found = read_history(tmp_path)
    assert found is not None
    for rows in found.tiou.values():
        assert np.isnan(rows).all(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("content", "digest", "why"),
    [(b"", None, "damaged"), (b"\x02" * 40, None, "damaged"), (b"x", "0" * 64, "changed since")],
)
def test_a_damaged_file_is_named(
    content: bytes, digest: str | None, why: str, tmp_path: Path
) -> None:
    assert read_history(tmp_path) is None
    (tmp_path / VALIDATED).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{VALIDATED}: {why}"):
        read_history(tmp_path, sha256=digest)
