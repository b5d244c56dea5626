"""Whether a student trained our way is as good as one trained the published way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.baselines.student_loop import Loop
from benchmarks.networks import make_knowledge
from benchmarks.rows import Aim, Row, row
from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate
from refkd.distill import DistillConfig
from refkd.models import VSLNetConfig
from refkd.models.backbone import Backbone
from refkd.recipes.config import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.knowledge import CachedTeachers, LiveTeachers
from refkd.training.student import StudentConfig, StudentTask, build_student
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.trainer import Trainer
from refkd.training.validated import Validated
from refkd.training.validation import validate

SEEDS = 5
NETWORK = VSLNetConfig(hidden=32, heads=4, char_dim=8)


def score_rows(precisions: Sequence[str], smoke: bool) -> Iterator[Row]:
    """Yield how far the scores of our way lie from those of the published one.

    Both ways train the same small students on the same seeds. The figure is the difference of the
    mean mIoU over both validation roles, in standard errors of it.
    """
    epochs, seeds = (1, 2) if smoke else (20, SEEDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = 40 if smoke else 160
        made = SimulationConfig(videos=videos, min_clips=8, max_clips=64)
        dataset = simulate(out=folder / "dataset", config=made)
        teachers = [_teacher(dataset, recipe, epochs) for recipe in ("id", "refkd_text")]
        cached = CachedTeachers(*make_knowledge(teachers, dataset, folder))
        theirs = [_published(dataset, teachers, seed, epochs) for seed in range(seeds)]
        for precision in precisions:
            ours = [_ours(dataset, cached, seed, epochs, precision) for seed in range(seeds)]
            yield _row(theirs, ours, precision)


def _row(theirs: list[float], ours: list[float], precision: str) -> Row:
    a, b = np.array(theirs), np.array(ours)
    error = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a)))
    figure = float(a.mean() - b.mean()) / max(error, 1e-9)
    told = " / ".join(f"{s.mean():.1f} ± {s.std(ddof=1):.1f}" for s in (a, b))
    return row(
        "student_epoch",
        f"validation mIoU, published way - ours, {precision}",
        [figure],
        unit="standard errors",
        clock="none",
        aim=Aim(at="<=", bound=2),
        note=f"{told} % over {len(a)} seeds, small VSLNet-rnn on simulated videos",
    )


def _teacher(dataset: Dataset, recipe: str, epochs: int) -> Backbone:
    config = TeacherConfig(
        backbone=NETWORK, recipe=RecipeConfig.named(recipe), training=_training(epochs)
    )
    trainer = teacher_trainer(config, dataset)
    list(trainer.epochs())
    return trainer.task.backbone.eval().requires_grad_(False)


def _training(epochs: int, precision: str = "float32") -> TrainingConfig:
    settings = {"epochs": epochs, "batch_size": 16, "precision": precision}
    return TrainingConfig.model_validate(settings)


def _task(dataset: Dataset, source: CachedTeachers | LiveTeachers, seed: int) -> StudentTask:
    config = StudentConfig(backbone=NETWORK, distill=DistillConfig(warmup_epochs=5), seed=seed)
    student = build_student(config, dataset.model_inputs())
    return StudentTask(student, config.distill, source)


def _published(dataset: Dataset, teachers: list[Backbone], seed: int, epochs: int) -> float:
    task = _task(dataset, LiveTeachers(*teachers), seed)
    Loop(task, dataset, epochs=epochs, batch_size=16, seed=seed).epochs()
    return _score(task, dataset)


def _ours(
    dataset: Dataset, cached: CachedTeachers, seed: int, epochs: int, precision: str
) -> float:
    task, training = _task(dataset, cached, seed), _training(epochs, precision)
    list(Trainer(task, dataset, training, seed=seed, validation=lambda _: Validated()).epochs())
    return _score(task, dataset)


def _score(task: StudentTask, dataset: Dataset) -> float:
    """Return the mean of the mIoU on both validation roles."""
    metrics = validate(task.backbone, dataset).metrics
    return (metrics["val_id/miou"] + metrics["val_ood/miou"]) / 2
