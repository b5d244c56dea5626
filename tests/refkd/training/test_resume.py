"""Training that is cut off goes on bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.distill import DistillConfig
from refkd.errors import CheckpointError, TrainingError
from refkd.models import VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.config import TrainingConfig
from refkd.training.knowledge import make_knowledge
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import Teacher, TeacherConfig, teacher_trainer
from refkd.training.trainer import Trainer

EPOCHS = 4
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from refkd.data.dataset import Dataset
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.teacher import TeacherConfig, teacher_trainer
torch.set_num_threads(1)
config = TeacherConfig.model_validate_json(sys.argv[2])
trainer = teacher_trainer(config, Dataset.open(sys.argv[1]))
folder = CheckpointFolder(Path(sys.argv[3]))
for result in trainer.epochs():
    folder.save(trainer.checkpoint())
    if result.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def training(**changes: object) -> TrainingConfig:
    settings = {"epochs": EPOCHS, "learning_rate": 3e-3, "batch_size": 16, **changes}
    return TrainingConfig.model_validate(settings)


def teacher_config(network: VSLNetConfig, **changes: object) -> TeacherConfig:
    return TeacherConfig(
        backbone=network,
        recipe=RecipeConfig.named("refkd_text"),
        training=training(**changes),
        seed=5,
    )


def run(trainer: Trainer, until: int = EPOCHS) -> None:
    for result in trainer.epochs():
        if result.epoch == until:
            break


def learned(trainer: Trainer) -> list[dict[str, float]]:
    """Return the curve without what it cost."""
    return [
        {k: v for k, v in r.metrics.items() if not k.startswith("cost/")} for r in trainer.history
    ]


def assert_same(a: Trainer, b: Trainer) -> None:
    assert learned(a) == learned(b)
    mine, its = a.tiou(), b.tiou()
    assert mine.keys() == its.keys() == {"val_id", "val_ood"}
    assert all(np.array_equal(mine[role], its[role]) for role in mine)
    ours, theirs = a.task.module.state_dict(), b.task.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_killed_teacher_goes_on_bit_for_bit(
    tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path
) -> None:
    config = teacher_config(network)
    straight = teacher_trainer(config, tiny_dataset)
    run(straight)
    command = [sys.executable, "-c", KILLED, str(tiny_dataset.path), config.model_dump_json()]
    killed = subprocess.run([*command, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL

    again = teacher_trainer(config, tiny_dataset)
    checkpoint = CheckpointFolder(tmp_path).newest()
    assert checkpoint is not None
    assert checkpoint.epoch == 2
    again.restore(checkpoint)
    torch.rand(1000)
    run(again)
    assert_same(straight, again)


@pytest.mark.parametrize(("select", "ema"), [("last", 0.0), ("best", 0.0), ("best", 0.9)])
def test_a_student_goes_on_bit_for_bit_across_the_end_of_the_warm_up(
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    teachers: dict[str, Teacher],
    tmp_path: Path,
    select: str,
    ema: float,
) -> None:
    config = StudentConfig(
        backbone=network,
        distill=DistillConfig(warmup_epochs=2),
        training=training(select=select, ema=ema),
    )

    def fresh() -> Trainer:
        return student_trainer(config, tiny_dataset, teachers, tmp_path / "knowledge")

    straight, first, second = fresh(), fresh(), fresh()
    run(straight)
    run(first, until=2)
    folder = CheckpointFolder(tmp_path / "checkpoints")
    folder.save(first.checkpoint())
    checkpoint = folder.newest()
    assert checkpoint is not None
    second.restore(checkpoint)
    run(second)
    assert_same(straight, second)
    kept, theirs = straight.kept_weights(), second.kept_weights()
    assert all(torch.equal(kept[name], theirs[name]) for name in kept)
    assert "train/pi_id" not in straight.history[1].metrics
    assert "train/pi_id" in straight.history[2].metrics


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path, damage: str
) -> None:
    trainer = teacher_trainer(teacher_config(network), tiny_dataset)
    folder = CheckpointFolder(tmp_path)
    for _ in trainer.epochs():
        folder.save(trainer.checkpoint())
    assert folder.epochs() == [3, 4]
    [newest] = tmp_path.glob("epoch-0004-*.safetensors")
    content = newest.read_bytes()
    if damage == "cut":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        newest.unlink()
    found = folder.newest()
    assert found is not None
    assert found.epoch == 3


def test_a_checkpoint_of_another_run_is_refused(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    trainer = teacher_trainer(teacher_config(network), tiny_dataset)
    run(trainer, until=1)
    other = teacher_trainer(teacher_config(network, learning_rate=1e-4), tiny_dataset)
    with pytest.raises(CheckpointError, match=r"learning_rate=0\.003, not 0\.0001"):
        other.restore(trainer.checkpoint())


def test_a_checkpoint_of_batches_drawn_otherwise_is_refused(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    trainer = teacher_trainer(teacher_config(network), tiny_dataset)
    run(trainer, until=1)
    other = teacher_trainer(teacher_config(network, pool=1), tiny_dataset)
    with pytest.raises(CheckpointError, match="pool=16, not 1; use another folder"):
        other.restore(trainer.checkpoint())


def test_a_loss_that_is_not_finite_ends_training_with_the_reason(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    trainer = teacher_trainer(teacher_config(network, learning_rate=1e30), tiny_dataset)
    with pytest.raises(TrainingError, match="the loss is nan in epoch 1; a lower learning rate"):
        run(trainer)


def test_cached_and_live_teachers_train_the_same_student(
    tiny_dataset: Dataset, network: VSLNetConfig, teachers: dict[str, Teacher], tmp_path: Path
) -> None:
    runs = []
    for cache in ("on", "off"):
        config = StudentConfig(
            backbone=network,
            distill=DistillConfig(warmup_epochs=1, teacher_cache=cache),
            training=training(epochs=2),
        )
        trainer = student_trainer(config, tiny_dataset, teachers, tmp_path)
        run(trainer, until=2)
        runs.append(trainer)
    for a, b in zip(*(learned(trainer) for trainer in runs), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_damaged_knowledge_is_computed_again(
    tiny_dataset: Dataset, teachers: dict[str, Teacher], tmp_path: Path
) -> None:
    first = make_knowledge(teachers["id"], tiny_dataset, tmp_path)
    before = first.path.read_bytes()
    first.path.write_bytes(before[:-4] + b"\0\0\0\1")
    again = make_knowledge(teachers["id"], tiny_dataset, tmp_path)
    assert again.path == first.path
    assert again.path.read_bytes() == before


def test_without_weight_the_side_branches_learn_nothing_and_change_nothing(
    tiny_dataset: Dataset, network: VSLNetConfig, teachers: dict[str, Teacher], tmp_path: Path
) -> None:
    """Property 13: λ = 0 leaves the side heads as they are; a detached trunk ignores λ."""

    def trained(**distill: object) -> dict[str, torch.Tensor]:
        config = StudentConfig(
            backbone=network,
            distill=DistillConfig.model_validate({"warmup_epochs": 1, **distill}),
            training=training(epochs=1, clip_norm=None),
        )
        trainer = student_trainer(config, tiny_dataset, teachers, tmp_path)
        before = {k: v.clone() for k, v in trainer.task.module.state_dict().items()}
        run(trainer, until=1)
        after = trainer.task.module.state_dict()
        moved = {name: not torch.equal(before[name], after[name]) for name in after}
        side = {n for n, m in moved.items() if n.startswith("side_id.") and m}
        assert bool(side) == (distill["lambda_id"] != 0)
        return {n: t.clone() for n, t in after.items() if n.startswith("backbone.")}

    none = trained(lambda_id=0.0, lambda_ood=0.0)
    detached = trained(lambda_id=0.7, lambda_ood=0.3, detach_side=True)
    attached = trained(lambda_id=0.7, lambda_ood=0.3)
    assert all(torch.equal(none[name], detached[name]) for name in none)
    assert any(not torch.equal(none[name], attached[name]) for name in none)
