"""The average of the weights over the steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.models import VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.average import Average
from refkd.training.config import TrainingConfig, recorded
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.trainer import EpochResult, Trainer


def config(network: VSLNetConfig, ema: float) -> TeacherConfig:
    training = TrainingConfig(epochs=2, learning_rate=3e-3, batch_size=16, ema=ema)
    return TeacherConfig(backbone=network, recipe=RecipeConfig.named("id"), training=training)


def trained(dataset: Dataset, network: VSLNetConfig, ema: float) -> Trainer:
    trainer = teacher_trainer(config(network, ema), dataset)
    for _ in trainer.epochs():
        pass
    return trainer


def test_it_is_the_mean_with_weights_that_decay() -> None:
    module = nn.Linear(1, 1, bias=False)
    average, expected = Average(module, 0.5), module.weight.item()
    for step, value in enumerate((2.0, 4.0, 8.0), 1):
        nn.init.constant_(module.weight, value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average.applied():
        assert module.weight.item() == pytest.approx(expected)
    assert module.weight.item() == 8.0


def test_it_changes_what_is_validated_and_kept_but_not_the_training(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    plain, averaged = (trained(tiny_dataset, network, ema) for ema in (0.0, 0.9))
    last, mean = (one.task.backbone.state_dict() for one in (plain, averaged))
    assert all(torch.equal(last[name], mean[name]) for name in last)
    for name in ("train/loss", "val_id/miou"):
        same = [a.metrics[name] == b.metrics[name] for a, b in _epochs(plain, averaged)]
        assert all(same) == (name == "train/loss")
    kept = averaged.kept_weights()
    assert not all(torch.equal(kept[name], last[name]) for name in last)
    averaged.task.backbone.load_state_dict(kept)
    assert (
        averaged._validation(averaged.task.backbone).metrics["val_id/miou"]
        == (averaged.history[-1].metrics["val_id/miou"])
    )


def _epochs(a: Trainer, b: Trainer) -> list[tuple[EpochResult, EpochResult]]:
    return list(zip(a.history, b.history, strict=True))


def test_a_run_without_it_is_what_it_was_before_there_was_one(
    tiny_dataset: Dataset, network: VSLNetConfig
) -> None:
    plain, averaged = config(network, 0.0), config(network, 0.9)
    assert "ema" not in recorded(plain)["training"]
    assert plain.address(tiny_dataset) != averaged.address(tiny_dataset)
    checkpoint = teacher_trainer(plain, tiny_dataset).checkpoint()
    del checkpoint.facts["config"]["ema"]
    teacher_trainer(plain, tiny_dataset).restore(checkpoint)
    with pytest.raises(CheckpointError, match=r"ema=0\.0, not 0\.9"):
        teacher_trainer(averaged, tiny_dataset).restore(checkpoint)
