"""What is meant for GPUs changes no result: resident features, and compiled networks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.data.resident import ResidentFeatures
from refkd.models import VSLNetConfig
from refkd.recipes.config import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.student import StudentConfig
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.timing import lone_student
from refkd.training.trainer import Trainer

GPU = pytest.param("cuda", marks=pytest.mark.gpu)
PLACES = ["cpu", GPU]
NETWORK = VSLNetConfig(hidden=8, heads=2, char_dim=4)


def trained(dataset: Dataset, **how: Any) -> Trainer:
    config = TeacherConfig(
        backbone=NETWORK,
        recipe=RecipeConfig.named("refkd_text"),
        training=TrainingConfig(epochs=2, batch_size=32),
    )
    trainer = teacher_trainer(config, dataset, **how)
    for _ in trainer.epochs():
        pass
    return trainer


@pytest.mark.parametrize("device", PLACES)
@pytest.mark.parametrize("role", ["fit", "val_ood"])
def test_resident_features_are_those_of_the_map(
    tiny_dataset: Dataset, role: str, device: str
) -> None:
    pairs = tiny_dataset.role(role)  # type: ignore[arg-type]
    features = ResidentFeatures(pairs, device)
    for rows in (np.arange(len(pairs)), np.array([3, 0, 3])):
        plain, gathered = pairs.batch(rows), pairs.batch(rows, features=features)
        assert gathered.features.device.type == device
        assert torch.equal(gathered.features.cpu(), plain.features)
        assert torch.equal(gathered.pairs, plain.pairs)


def test_training_on_them_is_the_same_to_the_bit(tiny_dataset: Dataset) -> None:
    plain, resident = trained(tiny_dataset), trained(tiny_dataset, resident=True)
    weights = resident.task.module.state_dict()
    for name, tensor in plain.task.module.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch's own tracing
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.nightly), GPU])
def test_a_compiled_student_loses_as_much(
    tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """In evaluation, where nothing is drawn: compiled dropout draws other masks.

    On a CPU torch traces the network and computes what it traced, without minutes of C++.
    """
    if device == "cpu":
        traced = functools.partialmethod(torch.nn.Module.compile, backend="eager")
        monkeypatch.setattr(torch.nn.Module, "compile", traced)
    batch = tiny_dataset.role("fit").batch(np.arange(16)).to(device)
    losses = []
    for compiled in (False, True):
        trainer = lone_student(
            StudentConfig(backbone=NETWORK), tiny_dataset, device=device, compiled=compiled
        )
        trainer.task.module.eval()
        terms = trainer.task.loss(batch, 0)
        terms.total.backward()
        losses.append(float(terms.total.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
