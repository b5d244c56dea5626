"""Students of a simulated world whose true scores are known: its test roles are large.

Letters in shapes: E epochs, N validation pairs of a role, A averages of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.data.sealed import open_sealed
from refkd.data.simulate import SimulationConfig, simulate
from refkd.distill import DistillConfig
from refkd.distill.loss_terms import LossTerms
from refkd.evaluation.metrics import Scores
from refkd.evaluation.predictions import evaluate_role
from refkd.models import VSLNetConfig
from refkd.models.backbone import Backbone
from refkd.recipes.config import RecipeConfig
from refkd.seeds import generator
from refkd.training.average import Average
from refkd.training.config import TrainingConfig
from refkd.training.knowledge import CachedTeachers, Knowledge, teacher_logits
from refkd.training.student import StudentConfig, StudentTask, build_student
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.trainer import Trainer
from refkd.training.validated import Validated

NETWORK = VSLNetConfig(hidden=32, heads=4, char_dim=8)
ROLES = ("id", "ood")
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """Data of one world, and what both teachers know of the pairs that students are fitted on."""

    fit: Pairs
    validation: dict[str, Pairs]
    """By `id` and `ood`."""
    truth: dict[str, Pairs]
    """Large, and seen by no search."""
    dataset: Dataset
    teachers: CachedTeachers


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A student's whole training, validated with each average of its weights."""

    tiou: dict[str, Values]
    """(A, E, N) percent, by role."""
    truth: dict[str, Values]
    """(A,) mIoU of the last epoch on the large test role, percent."""


@dataclass(frozen=True, kw_only=True)
class Bank:
    """The students of a world."""

    videos: dict[str, NDArray[np.str_]]
    """(N,) the video of each validation pair, by role."""
    students: list[Trained]


def make_bank(world: World, decays: Sequence[float], *, students: int, epochs: int) -> Bank:
    """Train students at points that are the same in every world."""
    videos = {role: np.asarray(world.validation[role].video_ids) for role in ROLES}
    return Bank(
        videos=videos,
        students=[train(world, decays, epochs=epochs, seed=seed) for seed in range(students)],
    )


def make_world(folder: Path, *, videos: int, pairs: int, epochs: int, seed: int) -> World:
    """Simulate a world and train its teachers; of `fit` and validation `pairs` are used each."""
    config = SimulationConfig(videos=videos, min_clips=8, max_clips=32, seed=seed)
    dataset = simulate(out=folder / "dataset", config=config)
    fit = _first(dataset.role("fit"), pairs)
    known = []
    for recipe in ("id", "refkd_text"):
        training = TrainingConfig(epochs=epochs, batch_size=16)
        teacher = TeacherConfig(
            backbone=NETWORK, recipe=RecipeConfig.named(recipe), training=training
        )
        trainer = teacher_trainer(teacher, dataset)
        trainer = Trainer(
            trainer.task, dataset, training, seed=seed, validation=_unseen, pairs=fit
        )
        list(trainer.epochs())
        logits = teacher_logits(trainer.task.backbone, fit)
        known.append(Knowledge(path=folder, logits=logits))
    return World(
        fit=fit,
        validation={
            "id": _first(dataset.role("val_id"), pairs),
            "ood": _first(dataset.role("val_ood"), pairs),
        },
        truth={
            "id": open_sealed(dataset.path, "test_id"),
            "ood": open_sealed(dataset.path, "test_ood"),
        },
        dataset=dataset,
        teachers=CachedTeachers(*known),
    )


def train(world: World, decays: Sequence[float], *, epochs: int, seed: int) -> Trained:
    """Train a student at a point drawn by a seed; 0 among the decays is the weights themselves."""
    draw = generator("point", seed)
    weights = {f"lambda_{role}": float(10 ** draw.uniform(-2, 0)) for role in ROLES}
    distill = DistillConfig(warmup_epochs=int(draw.integers(0, epochs // 2)), **weights)
    rate = float(10 ** draw.uniform(-3.3, -2.3))
    network = NETWORK.model_copy(update={"dropout": float(draw.uniform(0.1, 0.4))})
    config = StudentConfig(backbone=network, distill=distill, seed=seed)
    task = StudentTask(
        build_student(config, world.dataset.model_inputs()), distill, world.teachers
    )
    training = TrainingConfig(epochs=epochs, batch_size=16, learning_rate=rate)
    watched = _Watched(task, world, training, decays, seed=seed)
    rows: dict[str, list[list[Values]]] = {role: [] for role in ROLES}
    for _ in watched.epochs():
        for role in ROLES:
            rows[role].append([100 * one.tiou for one in watched.scored(world.validation[role])])
    return Trained(
        tiou={role: np.swapaxes(np.array(found), 0, 1) for role, found in rows.items()},
        truth={
            role: np.array([one.miou for one in watched.scored(world.truth[role])])
            for role in ROLES
        },
    )


class _Watched(Trainer):
    """Training with several averages of the weights beside it, none of which changes it."""

    def __init__(
        self,
        task: StudentTask,
        world: World,
        config: TrainingConfig,
        decays: Sequence[float],
        *,
        seed: int,
    ) -> None:
        super().__init__(
            task, world.dataset, config, seed=seed, validation=_unseen, pairs=world.fit
        )
        self._averages = [Average(task.backbone, decay) if decay else None for decay in decays]

    def step(self, batch: Batch, epoch: int) -> LossTerms:
        terms = super().step(batch, epoch)
        for average in self._averages:
            if average is not None:
                average.update()
        return terms

    def scored(self, pairs: Pairs) -> Iterator[Scores]:
        """Yield the scores of each average on some pairs."""
        for average in self._averages:
            with nullcontext() if average is None else average.applied():
                yield evaluate_role(self.task.backbone, pairs)


def _unseen(_: Backbone) -> Validated:
    return Validated()


def _first(pairs: Pairs, count: int) -> Pairs:
    """Return the first pairs of a role."""
    assert pairs.contents is not None
    cut = {name: getattr(pairs.contents, name)[:count] for name in ("first", "tokens", "lengths")}
    names = ("pair_ids", "video_ids", "queries", "moments", "duration", "clips", "spans")
    kept = {name: getattr(pairs, name)[:count] for name in names}
    return replace(pairs, **kept, contents=replace(pairs.contents, **cut))
