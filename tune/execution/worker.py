"""The trainable of Ray Tune: it trains the networks of one job in a worker.

A job writes its own checkpoints into its own folder and continues from the newest one that is
whole, so a job that is handed out again, a relaunch and a first start are the same code. An epoch
is reported after its checkpoint is on disk; epochs that were checkpointed but not reported are
reported again, and the source of the jobs ignores those that it has stored.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray.tune
from filelock import FileLock

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError, TrainingError
from refkd.files import temporaries
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.export import freeze_student, open_student, student_is_frozen
from refkd.training.knowledge import make_knowledge
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import TeacherConfig, find_teacher, freeze_teacher, teacher_trainer
from refkd.training.threads import use_threads
from refkd.training.trainer import Trainer
from tune.execution.jobs import CHECKPOINTS, TrainingJob, Workplace
from tune.execution.preemption import check_node
from tune.execution.replicates import Lockstep, Metrics, final_metrics
from tune.study.folders import seed_folder

FAILED, FINAL = "failed", "final:"
METRICS = ("train/", "val_id/", "val_ood/", "val/", "sd/", "cost/")


def metrics_of(result: Mapping[str, Any]) -> Metrics:
    """Return the metrics of a report, without the fields that Ray adds."""
    return {k: float(v) for k, v in result.items() if k.startswith(METRICS)}


def train_job(config: dict[str, Any], *, place: Workplace) -> None:
    """Train the networks of `config["job"]`, unless it is shared and another has trained it.

    Reports each epoch, then what was kept under names that begin with `FINAL`; or, as `FAILED`,
    why training gave up. Raises `NodeLeavingError` after an epoch on a node that is about to be
    taken away.
    """
    job: TrainingJob = config["job"]
    check_node()  # a reused worker may be on a node that is being drained
    dataset = open_dataset(place)
    try:
        with _alone(job):
            metrics = _Training(job, place, dataset).run()
    except (TrainingError, CheckpointError) as error:
        ray.tune.report({FAILED: str(error)})
        return
    # Ray flattens nested results with slashes, which our names hold already.
    ray.tune.report({FINAL + name: value for name, value in metrics.items()})


def open_dataset(place: Workplace) -> Dataset:
    """Open the dataset of a worker, and compute with as many CPUs as its jobs hold."""
    use_threads(place.resources.cpu)
    return _open_dataset(place.dataset, place.fingerprint)


class _Training:
    """The networks of a job in training."""

    def __init__(self, job: TrainingJob, place: Workplace, dataset: Dataset) -> None:
        self._job, self._place, self._dataset = job, place, dataset
        self._teachers = {role: find_teacher(folder) for role, folder in job.teachers.items()}
        self._folders = [seed_folder(job.folder, r) for r in range(len(job.networks))]

    def run(self) -> Metrics:
        """Return the metrics of what was kept."""
        found = _found(self._job.folder) if self._job.shared else None
        metrics = self._train() if found is None else found
        if self._job.shared:
            CheckpointFolder(self._job.folder / CHECKPOINTS).clear()
            teacher = find_teacher(self._job.folder)
            if teacher is not None:  # of a student no knowledge is needed
                device = self._place.resources.device
                make_knowledge(teacher, self._dataset, self._place.knowledge, device=device)
        return metrics

    def _train(self) -> Metrics:
        job = self._job
        groups = [self._group(range(job.race))]
        for result in groups[0].epochs():
            if result.epoch > job.inherited:
                ray.tune.report({"epoch": result.epoch, **result.metrics})
            if result.epoch < groups[0].total:
                check_node()
        if job.race < len(job.networks):
            groups.append(self._group(range(job.race, len(job.networks))))
            for _ in groups[1].epochs():
                check_node()
        for group in groups:
            group.check_claim()
        trainers = [trainer for group in groups for trainer in group.trainers]
        for trainer, network, folder in zip(trainers, job.networks, self._folders, strict=True):
            if isinstance(network, TeacherConfig):
                freeze_teacher(trainer, network, self._dataset, folder)
            elif not student_is_frozen(folder):
                freeze_student(trainer, network, self._dataset, folder)
        return final_metrics(trainers)

    def _group(self, replicates: range) -> Lockstep:
        """Return some of the networks, continued from their newest checkpoints."""
        folders = [self._folders[r] for r in replicates]
        if self._job.continues is not None:
            for r, folder in zip(replicates, folders, strict=True):
                _inherit(seed_folder(self._job.continues, r), folder)
        trainers = [self._trainer(self._job.networks[r]) for r in replicates]
        return Lockstep(trainers, [CheckpointFolder(folder / CHECKPOINTS) for folder in folders])

    def _trainer(self, network: TeacherConfig | StudentConfig) -> Trainer:
        resources = self._place.resources
        how: dict[str, Any] = {
            "device": resources.device,
            "resident": resources.resident,
            "compiled": resources.compiled,
        }
        if isinstance(network, TeacherConfig):
            return teacher_trainer(network, self._dataset, **how)
        return student_trainer(
            network, self._dataset, self._teachers, self._place.knowledge, **how
        )


@contextmanager
def _alone(job: TrainingJob) -> Iterator[None]:
    """Hold the lock of a shared job, and remove temporary files that a killed writer left."""
    if not job.shared:
        yield
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(job.folder / "training.lock"):
        for path in temporaries(job.folder):
            path.unlink()
        yield


def _found(folder: Path) -> Metrics | None:
    """Return the metrics of the network that a folder holds; None where it is not trained yet."""
    teacher = find_teacher(folder)
    if teacher is not None:
        return teacher.record.metrics
    return open_student(folder).record.metrics if student_is_frozen(folder) else None


def _inherit(source: Path, folder: Path) -> None:
    """Begin from the checkpoints of another folder, unless there are own ones."""
    own = folder / CHECKPOINTS
    if (source / CHECKPOINTS).is_dir() and not CheckpointFolder(own).epochs():
        shutil.copytree(source / CHECKPOINTS, own, dirs_exist_ok=True)


@lru_cache(maxsize=2)
def _open_dataset(path: Path | str, fingerprint: str) -> Dataset:
    """Open a dataset once a process: workers are reused from job to job."""
    dataset = Dataset.open(path, fingerprint=fingerprint)
    if dataset.fingerprint != fingerprint:
        raise TrainingError(
            f"{path}: the dataset changed while the search ran (fingerprint "
            f"{dataset.fingerprint[:12]}…, expected {fingerprint[:12]}…)"
        )
    return dataset
