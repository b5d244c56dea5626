"""A network without a span predictor teaches through the marginals of its map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.models import Tan2DConfig, VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.knowledge import make_knowledge, teacher_logits
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import (
    Teacher,
    TeacherConfig,
    find_teacher,
    freeze_teacher,
    teacher_trainer,
)

MAP = Tan2DConfig(
    hidden=8, map_clips=8, segments=16, convolutions=1, kernel=3, text_layers=1, temperature=0.5
)


@pytest.fixture(scope="module", params=["id", "refkd_text"])
def teacher(
    request: pytest.FixtureRequest,
    tiny_dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Teacher:
    config = TeacherConfig(
        backbone=MAP,
        recipe=RecipeConfig.named(request.param),
        training=TrainingConfig(epochs=2, learning_rate=1e-2),
    )
    trainer = teacher_trainer(config, tiny_dataset)
    results = list(trainer.epochs())
    assert results[1].metrics["train/loss"] < results[0].metrics["train/loss"]
    freeze_teacher(trainer, config, tiny_dataset, folder := tmp_path_factory.mktemp("map"))
    found = find_teacher(folder)
    assert found is not None
    return found


def test_its_knowledge_is_a_distribution_and_equals_the_live_network(
    teacher: Teacher, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    known = make_knowledge(teacher, tiny_dataset, tmp_path)
    pairs = tiny_dataset.role("fit")
    live = teacher_logits(teacher.backbone(tiny_dataset), pairs)
    np.testing.assert_array_equal(known.logits, live)
    np.testing.assert_allclose(np.exp(live).sum(axis=2), 1.0, atol=1e-5)


def test_a_student_learns_from_it(
    teacher: Teacher, tiny_dataset: Dataset, network: VSLNetConfig, tmp_path: Path
) -> None:
    config = StudentConfig(backbone=network, training=TrainingConfig(epochs=3, learning_rate=3e-3))
    teachers = {"id": teacher, "ood": teacher}
    trainer = student_trainer(config, tiny_dataset, teachers, tmp_path)
    losses = [result.metrics["train/loss"] for result in trainer.epochs()]
    assert losses[-1] < losses[0]
    assert all(torch.isfinite(value).all() for value in trainer.kept_weights().values())
