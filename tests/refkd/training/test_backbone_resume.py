"""Whatever the network, and whatever it draws: a run that was interrupted goes on bit for bit."""

from __future__ import annotations

import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.models import (
    NETWORKS,
    BackboneConfig,
    EMBConfig,
    MRTNetConfig,
    QAVEConfig,
    SeqPANConfig,
    Tan2DConfig,
    VSLNetConfig,
)
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.trainer import Trainer

SMALL = {"hidden": 16, "heads": 2, "char_dim": 4, "max_positions": 32}
CONFIGS: dict[str, BackboneConfig] = {
    "vslnet": VSLNetConfig(**SMALL),
    "seqpan": SeqPANConfig(**SMALL),
    "mrtnet": MRTNetConfig(**SMALL),
    "emb": EMBConfig(hidden=16, heads=2, block=4),
    "qave": QAVEConfig(hidden=8, span_hidden=8),
    "tan2d": Tan2DConfig(
        hidden=8, map_clips=8, segments=16, convolutions=1, kernel=3, text_layers=1
    ),
}


def fresh(backbone: BackboneConfig, dataset: Dataset) -> Trainer:
    training = TrainingConfig(epochs=3, learning_rate=3e-3)
    recipe = RecipeConfig.named("refkd_text")
    return teacher_trainer(
        TeacherConfig(backbone=backbone, recipe=recipe, training=training), dataset
    )


@pytest.mark.parametrize("name", list(CONFIGS))
def test_an_interrupted_teacher_goes_on_bit_for_bit(name: str, tiny_dataset: Dataset) -> None:
    straight, first = fresh(CONFIGS[name], tiny_dataset), fresh(CONFIGS[name], tiny_dataset)
    for _ in straight.epochs():
        pass
    next(first.epochs())
    checkpoint = first.checkpoint()
    torch.manual_seed(99)
    second = fresh(CONFIGS[name], tiny_dataset)
    second.restore(checkpoint)
    for _ in second.epochs():
        pass
    assert second.epoch == straight.epoch == 3
    expected = straight.kept_weights()
    assert all(torch.equal(w, expected[n]) for n, w in second.kept_weights().items())


def test_every_network_is_here() -> None:
    assert set(CONFIGS) == set(NETWORKS)
