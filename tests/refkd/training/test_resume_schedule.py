"""A backbone's schedule is right in every epoch, after a resume too."""

from __future__ import annotations

from pathlib import Path

import torch

from refkd.data.dataset import Dataset
from refkd.models import EMBConfig
from refkd.models.elastic import iou_threshold
from refkd.models.emb import EMB
from refkd.recipes import RecipeConfig
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig, teacher_trainer


def test_a_resumed_run_goes_on_with_the_right_threshold(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    config = TeacherConfig(
        backbone=EMBConfig(hidden=8, heads=2, block=4, max_positions=32),
        recipe=RecipeConfig.named("id"),
        training=TrainingConfig(epochs=4, batch_size=32, learning_rate=3e-3),
        seed=5,
    )
    straight, first, second = (teacher_trainer(config, tiny_dataset) for _ in range(3))
    seen = []
    for _ in straight.epochs():
        assert isinstance(straight.task.backbone, EMB)
        seen.append(straight.task.backbone.threshold)
    assert seen == [iou_threshold(epoch, 4) for epoch in range(4)]
    for result in first.epochs():
        if result.epoch == 2:
            break
    folder = CheckpointFolder(tmp_path)
    folder.save(first.checkpoint())
    checkpoint = folder.newest()
    assert checkpoint is not None
    second.restore(checkpoint)
    for _ in second.epochs():
        pass
    ours, theirs = straight.task.module.state_dict(), second.task.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
