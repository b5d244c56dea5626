"""How long an epoch takes here, measured on a few training steps before anything runs."""

from __future__ import annotations

import math
import time

import numpy as np
import torch

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.distill import TeacherLogits
from refkd.training.student import StudentConfig, StudentTask, build_student
from refkd.training.teacher import TeacherConfig, teacher_trainer
from refkd.training.trainer import Trainer

STEPS = 5


def epoch_of_student(config: StudentConfig, dataset: Dataset) -> float:
    """Return the seconds of a student's epoch."""
    return _timed(lone_student(config, dataset), dataset)


def lone_student(
    config: StudentConfig,
    dataset: Dataset,
    *,
    device: torch.device | str = "cpu",
    compiled: bool = False,
) -> Trainer:
    """Return a student's trainer without teachers: its own first answers stand for theirs."""
    student = build_student(config, dataset.model_inputs())

    def itself(batch: Batch) -> TeacherLogits:
        with torch.no_grad():
            spans = student.backbone(batch).spans
        return TeacherLogits(id=spans, ood=spans)

    task = StudentTask(student, config.distill, itself)
    return Trainer(task, dataset, config.training, seed=0, device=device, compiled=compiled)


def epoch_of_teacher(config: TeacherConfig, dataset: Dataset) -> float:
    """Return the seconds of a teacher's epoch."""
    return _timed(teacher_trainer(config, dataset), dataset)


def _timed(trainer: Trainer, dataset: Dataset) -> float:
    fit = dataset.role("fit")
    count = min(len(fit), trainer.config.batch_size)
    batch = fit.batch(np.arange(count, dtype=np.int64))
    with torch.random.fork_rng(devices=[]):  # dropout would draw from whoever asks
        trainer.step(batch, 0)
        begun = time.perf_counter()
        for _ in range(STEPS):
            trainer.step(batch, 0)
        seconds = time.perf_counter() - begun
    return seconds / STEPS * math.ceil(len(fit) / count)
