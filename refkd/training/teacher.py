"""Teachers: how one is trained, and what is left of it when it is frozen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from refkd.config import Config
from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.distill.terms import LossTerms
from refkd.errors import CheckpointError
from refkd.files import canonical_json, write_json
from refkd.models import BackboneConfig, build_backbone
from refkd.models.backbone import Backbone
from refkd.recipes import RecipeConfig, TeacherLoss
from refkd.training.checkpoint import load_tensors, save_tensors
from refkd.training.config import TrainingConfig
from refkd.training.trainer import Trainer

WEIGHTS = "weights.safetensors"
RECORD = "teacher.json"


class TeacherConfig(Config):
    """All that decides a teacher, its dataset apart."""

    backbone: BackboneConfig
    """The network."""
    recipe: RecipeConfig
    """What makes it good in or out of distribution."""
    training: TrainingConfig
    """Optimiser, epochs, which epoch is kept."""
    seed: int = 0
    """Of initialisation, order, dropout and augmentation."""

    def address(self, dataset: Dataset) -> str:
        """Return the folder name under which equal teachers are shared."""
        parts = {"dataset": dataset.fingerprint, "teacher": self.model_dump(mode="json")}
        return hashlib.sha256(canonical_json(parts)).hexdigest()[:24]


class TeacherTask:
    """Supervised training with a recipe's losses: a `refkd.training.trainer.Task`."""

    def __init__(self, backbone: Backbone, recipe: RecipeConfig, *, seed: int) -> None:
        self.backbone = backbone
        self._loss = TeacherLoss(recipe)
        self._seed = seed

    @property
    def module(self) -> nn.Module:
        """The backbone is all that is trained."""
        return self.backbone

    def loss(self, batch: Batch, epoch: int) -> LossTerms:
        """Return span cross-entropy, the backbone's own losses and the recipe's."""
        return self._loss(self.backbone, batch, seed=self._seed, epoch=epoch)


class TeacherRecord(Config):
    """What stands beside a frozen teacher's weights, as JSON."""

    backbone: BackboneConfig
    recipe: RecipeConfig
    training: TrainingConfig
    seed: int
    dataset: str
    """Fingerprint of the dataset it was trained on."""
    epoch: int
    """The epoch that was kept, counted from 1."""
    metrics: dict[str, float]
    """Validation scores of that epoch."""
    history: list[dict[str, Any]]
    sha256: str
    """Of the weights' file."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A frozen teacher on disk."""

    folder: Path
    record: TeacherRecord

    @cached_property
    def digest(self) -> str:
        """Hash of weights and network: what knowledge is filed under."""
        parts = [self.record.sha256, self.record.backbone.model_dump(mode="json")]
        return hashlib.sha256(canonical_json(parts)).hexdigest()

    def backbone(self, dataset: Dataset) -> Backbone:
        """Return the network with its weights, in evaluation mode and without gradients."""
        backbone = build_backbone(self.record.backbone, dataset.model_inputs(), seed=0)
        weights = load_tensors(self.folder / WEIGHTS, sha256=self.record.sha256)
        backbone.load_state_dict(weights)
        return backbone.eval().requires_grad_(False)


def teacher_trainer(
    config: TeacherConfig, dataset: Dataset, *, device: torch.device | str = "cpu"
) -> Trainer:
    """Return the trainer of a teacher, before its first epoch."""
    backbone = build_backbone(config.backbone, dataset.model_inputs(), seed=config.seed)
    task = TeacherTask(backbone, config.recipe, seed=config.seed)
    return Trainer(task, dataset, config.training, seed=config.seed, device=device)


def freeze_teacher(
    trainer: Trainer, config: TeacherConfig, dataset: Dataset, folder: Path
) -> Teacher:
    """Write a trained teacher; its record comes last, so a folder with one is complete."""
    kept = trainer.kept_result()
    record = TeacherRecord(
        backbone=config.backbone,
        recipe=config.recipe,
        training=config.training,
        seed=config.seed,
        dataset=dataset.fingerprint,
        epoch=kept.epoch,
        metrics=kept.metrics,
        history=[{"epoch": r.epoch, "metrics": r.metrics} for r in trainer.history],
        sha256=save_tensors(folder / WEIGHTS, trainer.kept_weights()),
    )
    write_json(folder / RECORD, record.model_dump(mode="json"))
    return Teacher(folder=folder, record=record)


def find_teacher(folder: Path) -> Teacher | None:
    """Return the teacher in a folder, None where training has not ended there."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = TeacherRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, ValidationError) as error:
        raise CheckpointError(
            f"{path}: not a teacher's record ({error}); remove the folder to train it again"
        ) from error
    return Teacher(folder=folder, record=record)
