"""The trainable of Ray Tune: it trains the networks of one job in a worker.

A job continues from the newest whole checkpoint in its own folder, so a first start, a relaunch
and a job that is handed out again are the same code. An epoch is reported after its checkpoint is
on disk, perhaps again; the source of the jobs ignores those that it has stored.
"""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import ray.tune
from filelock import FileLock

from refkd.data.dataset import Dataset
from refkd.errors import DataError, RefKDError, TrainingError
from refkd.files import temporaries
from refkd.masking import masked
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.export import freeze_student, keep_history, student_is_frozen
from refkd.training.knowledge import make_knowledge
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import TeacherConfig, find_teacher, freeze_teacher, teacher_trainer
from refkd.training.threads import use_threads
from refkd.training.trainer import Trainer
from tune.execution.jobs import (
    CHECKPOINTS,
    COST,
    Metrics,
    TrainingJob,
    Workplace,
    mean,
    trained_network,
)
from tune.execution.machine import Fault, fault_of
from tune.execution.preemption import NodeLeavingError, check_node
from tune.study.folders import seed_folder

FAILED, FAULT, FINAL, SCORED = "failed", "fault:", "final:", "scored:"
TRACEBACK = "traceback.txt"
"""File of the last error in a job's folder that is neither the machine's nor said by refkd."""
METRICS = ("train/", "val_id/", "val_ood/", "val/", "sd/", "model/", "cost/")
"""How the names of metrics begin; Ray adds fields of its own to a report."""


def train_job(config: dict[str, Any], *, place: Workplace) -> None:
    """Train the networks of `config["job"]`, unless it is shared and another has trained it.

    Reports each epoch, as `SCORED` what its pairs scored where trials race, then what was kept
    under names that begin with `FINAL`, or as `FAILED` why training gave up, or as `FAULT` what
    else kept it from going on, which is raised too: Ray then begins with another process. Raises
    `NodeLeavingError` on a node that is being drained.
    """
    job: TrainingJob = config["job"]
    try:
        check_node()  # a reused worker may be on a node that is being drained
        use_threads(place.resources.cpu)
        metrics = _Training(job, place, _of_this_node(place)).run()
    except TrainingError as error:
        ray.tune.report({FAILED: str(error)})
        return
    except NodeLeavingError:
        raise
    except Exception as error:
        fault = _kept(error, job.folder)
        ray.tune.report({FAULT + name: value for name, value in asdict(fault).items()})
        raise
    # Ray flattens nested results with slashes, which our names hold already.
    ray.tune.report({FINAL + name: value for name, value in metrics.items()})


def _kept(error: Exception, folder: Path) -> Fault:
    """Return what an error says; the traceback of one that nobody thought of is kept in a file."""
    fault = fault_of(error)
    if fault.machine or isinstance(error, RefKDError):
        return fault
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRACEBACK).write_text(masked(traceback.format_exc()), encoding="utf-8")
    except OSError:  # of the disk; the error itself says more
        return fault
    return replace(fault, cause=f"{fault.cause} (traceback: {folder.name}/{TRACEBACK})")


class _Training:
    """The networks of a job in training, each with checkpoints of its own."""

    def __init__(self, job: TrainingJob, place: Workplace, dataset: Dataset) -> None:
        self._job, self._place, self._dataset = job, place, dataset
        self._teachers = {role: find_teacher(folder) for role, folder in job.teachers.items()}
        self._folders = [seed_folder(job.folder, r) for r in range(len(job.networks))]
        self._checkpoints = [CheckpointFolder(folder / CHECKPOINTS) for folder in self._folders]
        self._trainers: list[Trainer] = []

    def run(self) -> Metrics:
        """Return the metrics of what was kept; a shared job is trained by one process alone."""
        job = self._job
        if not job.shared:
            return self._train()
        job.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(job.folder / "training.lock"):
            for path in temporaries(job.folder):  # of a writer that was killed
                path.unlink()
            found = trained_network(job.folder)
            metrics = self._train() if found is None else found.record.metrics
            self._checkpoints[0].clear()
            teacher = find_teacher(job.folder)
            if teacher is not None:  # of a student no knowledge is needed
                device = self._place.resources.device
                make_knowledge(teacher, self._dataset, self._place.knowledge, device=device)
        return metrics

    def _train(self) -> Metrics:
        """Return the means over the seeds of what each kept, their spread, and the cost of all."""
        job = self._job
        for epoch, metrics in self._epochs(range(job.race)):
            if epoch > job.inherited:
                ray.tune.report({"epoch": epoch, **metrics, **self._scored(epoch)})
            if epoch < self._trainers[0].config.epochs:
                check_node()
        for _ in self._epochs(range(job.race, len(job.networks))):
            check_node()
        for checkpoints in self._checkpoints:
            checkpoints.check_claim()
        for trainer, network, folder in zip(
            self._trainers, job.networks, self._folders, strict=True
        ):
            if isinstance(network, TeacherConfig):
                freeze_teacher(trainer, network, self._dataset, folder)
            elif not student_is_frozen(folder):
                freeze_student(trainer, network, self._dataset, folder)
        kept = mean([t.kept_result().metrics for t in self._trainers])
        last = mean([t.history[-1].metrics for t in self._trainers])
        return {**kept, **{name: value for name, value in last.items() if name.startswith(COST)}}

    def _scored(self, epoch: int) -> dict[str, str]:
        """Return the mean over the seeds of each pair that trials race by; none of old epochs."""
        if not self._job.scored:
            return {}
        from tune.study.racing import pack  # brings moocore along, which training does not need

        found = [trainer.history[epoch - 1].tiou for trainer in self._trainers]
        return {
            f"{SCORED}{role}/miou": pack(
                np.mean([tiou[role] for tiou in found], axis=0, dtype=np.float64),
                self._dataset.role(role).video_ids,
            )
            for role in self._job.scored
            if all(role in tiou for tiou in found)
        }

    def _epochs(self, replicates: range) -> Iterator[tuple[int, Metrics]]:
        """Train some of the networks side by side; yield each epoch with the means of its metrics.

        Epochs that are known from checkpoints are yielded too, each with its checkpoint on disk.
        Raises `SupersededError` where another process has taken over the folders.
        """
        group = [(r, self._continued(r)) for r in replicates]
        self._trainers += [trainer for _, trainer in group]
        total = group[0][1].config.epochs if group else 0
        for epoch in range(1, total + 1):
            for replicate, trainer in group:
                if trainer.epoch < epoch:
                    next(trainer.epochs())
                    self._save(replicate, trainer)
            yield epoch, mean([trainer.history[epoch - 1].metrics for _, trainer in group])

    def _save(self, replicate: int, trainer: Trainer) -> None:
        """Write a checkpoint, and before it what it alone can tell of the validation pairs.

        So the pairs of all epochs that have a checkpoint are known, however a worker dies.
        """
        self._checkpoints[replicate].check_claim()
        if isinstance(self._job.networks[replicate], StudentConfig):
            keep_history(trainer, self._dataset, self._folders[replicate])
        self._checkpoints[replicate].save(trainer.checkpoint())

    def _continued(self, replicate: int) -> Trainer:
        """Return the trainer of one network, continued from its newest checkpoint.

        Without own checkpoints it begins from those of the job that this one continues.
        """
        checkpoints, own = self._checkpoints[replicate], self._folders[replicate] / CHECKPOINTS
        if self._job.continues is not None:
            source = seed_folder(self._job.continues, replicate) / CHECKPOINTS
            if source.is_dir() and not checkpoints.epochs():
                shutil.copytree(source, own, dirs_exist_ok=True)
        trainer = self._trainer(self._job.networks[replicate])
        checkpoints.claim()
        newest = checkpoints.newest()
        if newest is not None:
            trainer.restore(newest)
        return trainer

    def _trainer(self, network: TeacherConfig | StudentConfig) -> Trainer:
        resources = self._place.resources
        how = {name: getattr(resources, name) for name in ("device", "resident", "compiled")}
        if isinstance(network, TeacherConfig):
            return teacher_trainer(network, self._dataset, **how)
        return student_trainer(
            network, self._dataset, self._teachers, self._place.knowledge, **how
        )


def _of_this_node(place: Workplace) -> Dataset:
    """Return the dataset as this node has it; `OSError` where it is not what others train on."""
    try:
        return open_dataset(place)
    except DataError as error:
        raise OSError(str(error)) from error


@lru_cache(maxsize=2)
def open_dataset(place: Workplace) -> Dataset:
    """Open the dataset of a worker, once a process: workers are reused from job to job."""
    dataset = Dataset.open(place.dataset, fingerprint=place.fingerprint)
    if dataset.fingerprint != place.fingerprint:
        raise DataError(
            f"{place.dataset}: the dataset changed while the search ran (fingerprint "
            f"{dataset.fingerprint[:12]}…, expected {place.fingerprint[:12]}…)"
        )
    return dataset
