"""What one trial takes of a device, measured on a few steps."""

from __future__ import annotations

import logging
import time
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import optuna
import psutil
import torch
from torch.profiler import ProfilerActivity, profile

from refkd.config import Config
from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.scoped import log_levels
from refkd.training.student import StudentConfig
from refkd.training.threads import use_threads
from refkd.training.timing import lone_student
from refkd.training.trainer import Trainer
from tune.config.space import suggest
from tune.config.study_file import StudyFile

DRAWS, STEPS = 16, 10


class Taken(Config):
    """What one trial takes of a device while it trains on its longest batch."""

    device: str
    parameters: int
    pairs: int
    """Of the batch."""
    clips: int
    """The batch's padded length."""
    step_seconds: float
    memory: int
    """Bytes that a further trial's process takes: of the GPU, CUDA's own included, else of main
    memory, without what it shares with others."""
    capacity: int
    """Bytes of the device."""
    busy: float
    """Share of the time in which the device computes; 1 where it is a CPU."""


def largest_student(file: StudyFile, dataset: Dataset) -> StudentConfig:
    """Return the student with the most parameters among some drawn from the space."""
    with log_levels({"optuna": logging.WARNING}):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=file.seed))
    drawn = [suggest(file.space, study.ask(), file.fixed()) for _ in range(DRAWS)]
    students = [file.student_config(values, seed=0) for values in drawn]
    return max(students, key=lambda student: _parameters(lone_student(student, dataset)))


def taken_by(student: StudentConfig, dataset: Dataset, device: str) -> Taken:
    """Train a student on its longest batch and return what that takes."""
    trainer = lone_student(student, dataset, device=device)
    fit = dataset.role("fit")
    longest = np.argsort(-fit.clips, kind="stable")[: student.training.batch_size]
    batch = fit.batch(longest).to(torch.device(device))
    trainer.step(batch, 0)
    ends = [time.perf_counter()]
    for _ in range(STEPS):
        trainer.step(batch, 0)  # reads the loss, so it waits for the device
        ends.append(time.perf_counter())
    seconds = median(end - begun for begun, end in pairwise(ends))
    if device == "cpu":
        own = psutil.Process().memory_full_info().uss  # shared with nobody
        memory, capacity, busy = int(own), psutil.virtual_memory().total, 1.0
    else:
        left, capacity = torch.cuda.mem_get_info()
        memory, busy = capacity - left, min(1.0, _computing(trainer, batch) / seconds)
    return Taken(
        device=device if device == "cpu" else torch.cuda.get_device_name(),
        parameters=_parameters(trainer),
        pairs=len(longest),
        clips=batch.features.shape[1],
        step_seconds=seconds,
        memory=memory,
        capacity=capacity,
        busy=busy,
    )


def measure_largest(study: dict[str, Any], on_gpu: bool) -> Taken:
    """Run on a worker."""
    file = StudyFile.model_validate(study)
    use_threads(file.resources.cpu)
    dataset = Dataset.open(file.dataset)
    return taken_by(largest_student(file, dataset), dataset, "cuda" if on_gpu else "cpu")


def _computing(trainer: Trainer, batch: Batch) -> float:
    """Return the seconds that a GPU computes in one step."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        trainer.step(batch, 0)
        torch.cuda.synchronize()
    return float(sum(event.self_device_time_total for event in profiled.key_averages())) / 1e6


def _parameters(trainer: Trainer) -> int:
    return sum(parameter.numel() for parameter in trainer.task.module.parameters())
