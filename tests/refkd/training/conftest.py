"""Two small frozen teachers, and what a small run is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.shared import made_once

from refkd.data.dataset import Dataset
from refkd.models import VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.teacher import (
    Teacher,
    TeacherConfig,
    find_teacher,
    freeze_teacher,
    teacher_trainer,
)


@pytest.fixture(scope="session")
def network() -> VSLNetConfig:
    """Return a small network with dropout."""
    return VSLNetConfig(hidden=16, heads=2, char_dim=4, max_positions=32, predictor="transformer")


@pytest.fixture(scope="session")
def teachers(tiny_dataset: Dataset, network: VSLNetConfig) -> dict[str, Teacher]:
    """Return an ID and an OOD teacher after three epochs; nobody changes their folders."""
    recipes = {"id": "id", "ood": "refkd_text"}

    def make(folder: Path) -> None:
        for role, recipe in recipes.items():
            trained_teacher(network, RecipeConfig.named(recipe), tiny_dataset, folder / role)

    folder = made_once("frozen-teachers", make)
    found = {}
    for role in recipes:
        teacher = find_teacher(folder / role)
        assert teacher is not None
        found[role] = teacher
    return found


def trained_teacher(
    network: VSLNetConfig, recipe: RecipeConfig, dataset: Dataset, folder: Path
) -> Teacher:
    config = TeacherConfig(
        backbone=network,
        recipe=recipe,
        training=TrainingConfig(epochs=3, learning_rate=3e-3, batch_size=16),
        seed=1,
    )
    trainer = teacher_trainer(config, dataset)
    for _ in trainer.epochs():
        pass
    return freeze_teacher(trainer, config, dataset, folder)
