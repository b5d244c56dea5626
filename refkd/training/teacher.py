"""Teachers: how one is trained, and what is left of it when it is frozen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import model_validator
from torch import nn

from refkd.config import Config, Settings
from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.distill.loss_terms import LossTerms
from refkd.errors import CheckpointError
from refkd.files import canonical_json, sha256_file, write_json
from refkd.models import BackboneConfig
from refkd.models.backbone import Backbone
from refkd.models.order import OrderHead
from refkd.recipes import RecipeConfig, TeacherLoss, augmentation
from refkd.recipes.augment import Augment
from refkd.recipes.losses import clip_features
from refkd.recipes.network import build_network, check_fits, check_soft, kept_part
from refkd.seeds import derive_seed
from refkd.training.checkpoint import load_tensors, save_tensors
from refkd.training.config import TrainingConfig, recorded
from refkd.training.imported.teacher import RECORD as RECORD
from refkd.training.imported.teacher import ImportedRecord, ImportedTeacher
from refkd.training.trainer import Trainer

WEIGHTS = "weights.safetensors"


class TeacherConfig(Settings):
    """All that decides a teacher, except its dataset.

    >>> from refkd import VSLNetConfig
    >>> config = TeacherConfig(
    ...     backbone=VSLNetConfig(), recipe=RecipeConfig(), training=TrainingConfig(epochs=30)
    ... )
    >>> config.total_epochs()
    30
    """

    backbone: BackboneConfig
    """The network."""
    recipe: RecipeConfig
    """What makes it good in or out of distribution."""
    training: TrainingConfig
    """Optimiser, epochs, which epoch is kept."""
    seed: int = 0
    """Of initialisation, order, dropout and augmentation."""

    @model_validator(mode="after")
    def _recipe_fits(self) -> Self:
        check_fits(self.backbone, self.recipe)
        if self.training.windows == "soft":
            check_soft(self.backbone, self.recipe)
        return self

    def total_epochs(self) -> int:
        """Return the epochs trained."""
        return self.training.epochs

    def address(self, dataset: Dataset) -> str:
        """Return the folder name under which equal teachers are shared."""
        parts = {"dataset": dataset.fingerprint, "teacher": recorded(self)}
        return hashlib.sha256(canonical_json(parts)).hexdigest()[:24]


class TeacherTask:
    """Supervised training with a recipe's losses: a `refkd.training.trainer.Task`.

    What a recipe needs beside the backbone is trained with it, and dropped when it is frozen,
    unless the teacher's answers depend on it.
    """

    def __init__(
        self,
        network: Backbone,
        recipe: RecipeConfig,
        *,
        seed: int,
        augment: Augment | None = None,
        order: OrderHead | None = None,
    ) -> None:
        self.network = network
        self.leaks = recipe.oracle
        heads = {} if order is None else {"order": order}
        self._module = nn.ModuleDict({"network": network, **heads})
        self._loss = TeacherLoss(recipe, augment=augment, order=order)
        self._seed = seed

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe."""
        recipe = self._loss.recipe.model_dump(mode="json")
        return {f"recipe.{name}": value for name, value in recipe.items()}

    @property
    def module(self) -> nn.Module:
        """Backbone, bias branches and order head are trained."""
        return self._module

    @property
    def called(self) -> nn.Module:
        """A step calls the network; an order head is asked by the loss."""
        return self.network

    @property
    def backbone(self) -> Backbone:
        """The backbone is kept, with the bias branches where they have a say at inference."""
        return kept_part(self.network)

    def loss(self, batch: Batch, epoch: int) -> LossTerms:
        """Return span cross-entropy, the backbone's own losses and the recipe's."""
        return self._loss(self.network, batch, seed=self._seed, epoch=epoch)


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
    leakage: bool = False
    """Whether it was trained on pairs that models are judged by (`recipe.oracle`)."""
    sha256: str
    """Of the weights' file."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A frozen teacher on disk."""

    folder: Path
    record: TeacherRecord

    @property
    def seed(self) -> int:
        """The seed it was trained from."""
        return self.record.seed

    @property
    def leaks(self) -> bool:
        """Whether what comes of it is worth nothing but as a diagnostic."""
        return self.record.leakage

    @property
    def origin(self) -> None:
        """It was trained here, and imported from nowhere."""
        return None

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / WEIGHTS

    @cached_property
    def digest(self) -> str:
        """Hash of weights and network: what knowledge is filed under."""
        recipe = self.record.recipe
        parts: list[Any] = [self.record.sha256, self.record.backbone.model_dump(mode="json")]
        if recipe.bias_branch == "counterfactual":
            parts += [recipe.bias_branch, recipe.alpha]
        return hashlib.sha256(canonical_json(parts)).hexdigest()

    @cached_property
    def file_hash(self) -> str:
        """The sha256 of its record, which holds that of its weights."""
        return sha256_file(self.folder / RECORD)

    def backbone(self, dataset: Dataset) -> Backbone:
        """Return the network with its weights, in evaluation mode and without gradients."""
        record = self.record
        backbone = kept_part(
            build_network(record.backbone, record.recipe, dataset.model_inputs(), seed=0)
        )
        weights = load_tensors(self.weights, sha256=self.record.sha256)
        backbone.load_state_dict(weights)
        return backbone.eval().requires_grad_(False)


AnyTeacher = Teacher | ImportedTeacher
"""A frozen teacher: trained here, or imported."""


def teacher_trainer(
    config: TeacherConfig,
    dataset: Dataset,
    *,
    device: torch.device | str = "cpu",
    resident: bool = False,
    compiled: bool = False,
) -> Trainer:
    """Return the trainer of a teacher, before its first epoch."""
    recipe, pairs = config.recipe, dataset.role(config.recipe.trained_on)
    network = build_network(config.backbone, recipe, dataset.model_inputs(), seed=config.seed)
    longest = min(dataset.max_clips, getattr(config.backbone, "max_positions", dataset.max_clips))
    task = TeacherTask(
        network,
        recipe,
        seed=config.seed,
        augment=augmentation(recipe, pairs, longest=longest),
        order=_order_head(network, pairs, seed=config.seed) if recipe.w_ord > 0 else None,
    )
    return Trainer(
        task,
        dataset,
        config.training,
        seed=config.seed,
        device=device,
        resident=resident,
        compiled=compiled,
        pairs=pairs,
    )


@torch.no_grad()
def _order_head(network: Backbone, pairs: Pairs, *, seed: int) -> OrderHead:
    """Return a fresh order head, as wide as the features that the network gives it."""
    features = clip_features(network.eval()(pairs.batch([0])))
    assert features is not None  # as `check_fits` has made sure
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "order head"))
        return OrderHead(features.shape[2])


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
        leakage=trainer.task.leaks,
        sha256=save_tensors(folder / WEIGHTS, trainer.kept_weights()),
    )
    write_json(folder / RECORD, record.model_dump(mode="json"))
    return Teacher(folder=folder, record=record)


def find_teacher(folder: Path) -> AnyTeacher | None:
    """Return the teacher in a folder, None where training has not ended there."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if "imported" in held:
            imported = ImportedRecord.model_validate(held)
            return ImportedTeacher(folder=folder, record=imported)
        record = TeacherRecord.model_validate(held)
    except (ValueError, TypeError, OSError) as error:  # of the bytes, the JSON or its fields
        raise CheckpointError(
            f"{path}: not a teacher's record ({error}); remove the folder to train it again"
        ) from error
    return Teacher(folder=folder, record=record)
