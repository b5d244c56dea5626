"""Every backbone as both teachers and, where it has a span predictor, as the student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refkd.data.dataset import Dataset
from refkd.distill import DistillConfig
from refkd.models import BackboneConfig, EMBConfig, QAVEConfig, VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.export import freeze_student, open_student
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import Teacher, TeacherConfig, freeze_teacher, teacher_trainer
from refkd.training.validation import predict_edges

BACKBONES: dict[str, BackboneConfig] = {
    "vslnet": VSLNetConfig(hidden=16, heads=2, char_dim=4, max_positions=32),
    "emb": EMBConfig(hidden=16, heads=2, block=4, max_positions=32),
    "qave": QAVEConfig(hidden=8, span_hidden=8, dropout=0.2),
}
TRAINING = TrainingConfig(epochs=4, learning_rate=3e-3, batch_size=16)


def teacher(config: BackboneConfig, recipe: str, dataset: Dataset, folder: Path) -> Teacher:
    made = TeacherConfig(
        backbone=config, recipe=RecipeConfig.named(recipe), training=TRAINING, seed=1
    )
    trainer = teacher_trainer(made, dataset)
    for _ in trainer.epochs():
        pass
    assert trainer.history[-1].metrics["train/span"] < trainer.history[0].metrics["train/span"]
    return freeze_teacher(trainer, made, dataset, folder)


@pytest.mark.parametrize("config", BACKBONES.values(), ids=list(BACKBONES))
def test_a_backbone_teaches_and_learns(
    config: BackboneConfig, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    teachers = {
        "id": teacher(config, "id", tiny_dataset, tmp_path / "id"),
        "ood": teacher(config, "refkd_text", tiny_dataset, tmp_path / "ood"),
    }
    student = StudentConfig(
        backbone=config, distill=DistillConfig(warmup_epochs=2), training=TRAINING
    )
    trainer = student_trainer(student, tiny_dataset, teachers, tmp_path / "knowledge")
    for _ in trainer.epochs():
        pass
    first, last = trainer.history[0].metrics, trainer.history[-1].metrics
    for branch in ("side_id", "side_ood"):
        assert last[f"train/{branch}"] < first[f"train/{branch}"]
    freeze_student(trainer, student, tiny_dataset, tmp_path / "student")
    again = open_student(tmp_path / "student").backbone(tiny_dataset)
    pairs = tiny_dataset.role("val_id")
    edges = predict_edges(trainer.task.backbone, pairs)
    np.testing.assert_array_equal(predict_edges(again, pairs), edges)
