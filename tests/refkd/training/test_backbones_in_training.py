"""Every backbone as both teachers and, where it has a span predictor, as the student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate
from refkd.distill import DistillConfig
from refkd.evaluation.probes import probe_role
from refkd.models import BackboneConfig, EMBConfig, QAVEConfig, VSLNetConfig
from refkd.models.backbone import Backbone
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
TINY = SimulationConfig(
    videos=60, queries=2, feature_dim=16, word_dim=12, min_clips=8, max_clips=16
)
RECIPES: dict[str, dict[str, Any]] = {
    "id": {"preset": "id"},
    "refkd_text": {"preset": "refkd_text"},
    "augmented": {"preset": "combined", "copies": 2, "truncate_min_clips": 4},
}
TRAINING = TrainingConfig(epochs=4, learning_rate=3e-3, batch_size=16)


def teacher(config: BackboneConfig, recipe: str, dataset: Dataset, folder: Path) -> Teacher:
    made = TeacherConfig(
        backbone=config,
        recipe=RecipeConfig.model_validate(RECIPES[recipe]),
        training=TRAINING,
        seed=1,
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
    teach_and_learn(config, "refkd_text", tiny_dataset, tmp_path)


def test_queries_that_are_given_as_features_are_taught_and_learned(tmp_path: Path) -> None:
    dataset = simulate(out=tmp_path / "text", config=TINY.model_copy(update={"text": True}))
    backbone = teach_and_learn(BACKBONES["vslnet"], "augmented", dataset, tmp_path)
    found = probe_role(backbone, dataset.role("val_id"), seed=0)
    assert found.query_blind != found.own


def teach_and_learn(
    config: BackboneConfig, recipe: str, dataset: Dataset, folder: Path
) -> Backbone:
    """Train two teachers and their student; return its network, as it is read from its files."""
    teachers = {
        "id": teacher(config, "id", dataset, folder / "id"),
        "ood": teacher(config, recipe, dataset, folder / "ood"),
    }
    student = StudentConfig(
        backbone=config, distill=DistillConfig(warmup_epochs=2), training=TRAINING
    )
    trainer = student_trainer(student, dataset, teachers, folder / "knowledge")
    for _ in trainer.epochs():
        pass
    first, last = trainer.history[0].metrics, trainer.history[-1].metrics
    for branch in ("side_id", "side_ood"):
        assert last[f"train/{branch}"] < first[f"train/{branch}"]
    freeze_student(trainer, student, dataset, folder / "student")
    again = open_student(folder / "student").backbone(dataset)
    pairs = dataset.role("val_id")
    edges = predict_edges(trainer.task.backbone, pairs)
    np.testing.assert_array_equal(predict_edges(again, pairs), edges)
    return again
