"""How many trials a machine or a GPU carries at a time, measured on a few steps of one."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import optuna
import psutil
import ray
import torch
from torch.profiler import ProfilerActivity, profile

from refkd.config import Config
from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.scoped import log_levels
from refkd.training.student import StudentConfig
from refkd.training.threads import use_threads
from refkd.training.timing import lone_student
from refkd.training.trainer import Trainer
from tune.config.limits import Resources
from tune.config.space import suggest
from tune.config.study_file import StudyFile
from tune.execution.cluster import Machine

DRAWS, STEPS = 16, 10
MARGIN = 0.9
"""Share of the memory that trials may take together."""


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


class Share(Config):
    """How many trials fit on one device, and the two bounds of that."""

    taken: Taken
    by_memory: int
    by_time: int
    """By the GPU's time, or by a machine's cores."""
    trials: int
    """At a time on one GPU, or on one machine without; 0 where not even one fits."""
    resources: Resources
    """What a trial should ask for."""
    workers: int
    """Trials at a time on all machines, of those that may come one a kind."""


def measure(file: StudyFile, machines: Sequence[Machine]) -> Share:
    """Train the largest of some drawn students for a few steps and return what fits.

    It is placed by Ray, where there are GPUs on a whole one. Raises `RefKDError` where trials
    ask for a GPU and no machine has one, or where the student cannot be trained, such as for want
    of memory.
    """
    gpus = [machine for machine in machines if machine.get("GPU", 0.0) >= 1]
    if not all(machines) and not (gpus or any(machine.get("CPU") for machine in machines)):
        raise RefKDError(
            "no machine for trials is there yet, and nothing is known of those that may come: "
            "have one started, such as by minReplicas: 1, and ask again"
        )
    if file.resources.gpu and not gpus:
        raise RefKDError(
            f"resources.gpu is {file.resources.gpu:g}, but no machine has a GPU: set it to 0, or "
            "give the --address of a cluster that has some"
        )
    wanted = {"num_cpus": file.resources.cpu, "num_gpus": 1 if gpus else 0, "max_retries": 0}
    task = ray.remote(**wanted)(_taken)  # type: ignore[call-overload]
    try:
        taken: Taken = ray.get(
            task.remote(file.model_dump(mode="json", by_alias=True), bool(gpus))
        )
    except ray.exceptions.RayError as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise RefKDError(f"a student of {file.name} cannot be trained there: {reason}") from None
    return share_of(taken, file.resources, gpus or machines)


def share_of(taken: Taken, resources: Resources, machines: Sequence[Machine]) -> Share:
    """Return how many trials fit; `machines` are those that have such a device."""
    by_memory = int(MARGIN * taken.capacity / max(taken.memory, 1))
    if taken.device == "cpu":
        fitting = [int(machine.get("CPU", 0.0) / resources.cpu) for machine in machines]
        by_time, share = max(fitting), 0.0
        trials = min(by_memory, by_time)
        workers = sum(min(by_memory, trials_there) for trials_there in fitting)
    else:
        by_time = max(1, int(1 / max(taken.busy, 1e-3)))
        trials = min(by_memory, by_time)
        share = int(1e4 / max(trials, 1)) / 1e4  # Ray counts in ten thousandths
        workers = trials * int(sum(machine.get("GPU", 0.0) for machine in machines))
    return Share(
        taken=taken,
        by_memory=by_memory,
        by_time=by_time,
        trials=trials,
        resources=resources.model_copy(update={"gpu": share}),
        workers=workers,
    )


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


def _taken(study: dict[str, Any], on_gpu: bool) -> Taken:
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
