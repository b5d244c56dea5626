"""Teachers and students as Ray Tune trainables.

Each writes its own checkpoints into its own folder and continues from the newest one that is
whole, so a retry by Ray, a relaunch and a first start are the same code. An epoch is reported
after its checkpoint is on disk; epochs that were checkpointed but not reported are reported
again, and the study ignores what it knows already.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray.tune
from filelock import FileLock

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError, TrainingError
from refkd.files import temporaries
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.export import freeze_student, student_is_frozen
from refkd.training.knowledge import make_knowledge
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import TeacherConfig, find_teacher, freeze_teacher, teacher_trainer
from refkd.training.threads import use_threads
from refkd.training.trainer import Trainer
from tune.execution.jobs import CHECKPOINTS, Job
from tune.execution.replicates import Lockstep, final_metrics
from tune.execution.spot import check_node
from tune.study.folders import seed_folder

FAILED, FINAL = "failed", "final:"
METRICS = ("train/", "val_id/", "val_ood/", "val/", "sd/", "cost/")


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics in a report: Ray adds facts of its own to it."""
    return {k: float(v) for k, v in result.items() if k.startswith(METRICS)}


def train_teacher(config: dict[str, Any], *, job: dict[str, Any]) -> None:
    """Train the teacher `config["role"]` unless it exists, and compute its knowledge."""
    work = Job.model_validate(job)
    role = str(config["role"])
    dataset = open_dataset(work.dataset, work.fingerprint, cpu=work.study.resources.cpu)
    settings = work.study.teacher_config(role, epochs=work.teacher_epochs)
    folder = work.teachers[role]
    try:
        teach(settings, folder, dataset, knowledge=work.knowledge, place=work.place())
    except (TrainingError, CheckpointError) as error:
        ray.tune.report({FAILED: str(error)})


def teach(
    settings: TeacherConfig,
    folder: Path,
    dataset: Dataset,
    *,
    knowledge: Path,
    place: dict[str, Any],
) -> None:
    """Train a teacher into `folder` unless it is there, reporting its epochs; then its knowledge.

    Raises `TrainingError` where its loss is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Studies that share a teacher and run at the same time train it once.
    with FileLock(folder / "training.lock"):
        for path in temporaries(folder):
            path.unlink()
        teacher = find_teacher(folder)
        if teacher is None:
            trainer = teacher_trainer(settings, dataset, **place)
            checkpoints = CheckpointFolder(folder / CHECKPOINTS)
            report_epochs(trainer, checkpoints)
            checkpoints.check_claim()
            teacher = freeze_teacher(trainer, settings, dataset, folder)
            checkpoints.clear()
        make_knowledge(teacher, dataset, knowledge, device=place["device"])
    ray.tune.report({"epoch": teacher.record.epoch, "frozen": True, **teacher.record.metrics})


def train_student(config: dict[str, Any], *, job: dict[str, Any]) -> None:
    """Train the students of trial `config["number"]` with `config["values"]`, a student a seed.

    The first `config["race"]` seeds are reported epoch by epoch and may be stopped; the others
    are trained once those are through. They lie in `config["folder"]`, or in the trial's own.
    Raises `NodeLeavingError` after an epoch on a node that is about to be taken away, unless
    `config["leaves"]` is false: then it goes on until Ray moves it.
    """
    work = Job.model_validate(job)
    leaves = bool(config.get("leaves", True))
    if leaves:
        check_node()  # a worker that was used before may stand on a node that leaves
    dataset = open_dataset(work.dataset, work.fingerprint, cpu=work.study.resources.cpu)
    teachers = {role: find_teacher(path) for role, path in work.teachers.items()}
    seeds, race = [int(seed) for seed in config["seeds"]], int(config["race"])
    number, continues = int(config["number"]), config["continues"]
    home = Path(config["folder"]) if "folder" in config else work.trial_folder(number)

    def group(replicates: range) -> tuple[Lockstep, list[Path], list[StudentConfig]]:
        folders = [seed_folder(home, r) for r in replicates]
        settings = [work.study.student_config(config["values"], seed=seeds[r]) for r in replicates]
        if continues is not None:
            for r, folder in zip(replicates, folders, strict=True):
                _inherit(seed_folder(work.trial_folder(int(continues)), r), folder)
        trainers = [
            student_trainer(s, dataset, teachers, work.knowledge, **work.place()) for s in settings
        ]
        checkpoints = [CheckpointFolder(folder / CHECKPOINTS) for folder in folders]
        return Lockstep(trainers, checkpoints), folders, settings

    def freeze(members: tuple[Lockstep, list[Path], list[StudentConfig]]) -> list[Trainer]:
        lockstep, folders, settings = members
        lockstep.check_claim()
        for trainer, folder, setting in zip(lockstep.trainers, folders, settings, strict=True):
            if not student_is_frozen(folder):
                freeze_student(trainer, setting, dataset, folder)
        return lockstep.trainers

    try:
        racing = group(range(race))
        for result in racing[0].epochs():
            report: dict[str, Any] = {"epoch": result.epoch, **result.metrics}
            if result.epoch == racing[0].total and race == len(seeds):
                report |= _final(freeze(racing))
            if result.epoch > int(config["inherited"]):
                ray.tune.report(report)
            if leaves and result.epoch < racing[0].total:
                check_node()
        if race < len(seeds):
            others = group(range(race, len(seeds)))
            for _ in others[0].epochs():
                if leaves:
                    check_node()
            ray.tune.report(_final([*freeze(racing), *freeze(others)]))
    except (TrainingError, CheckpointError) as error:
        ray.tune.report({FAILED: str(error)})


def _final(trainers: list[Trainer]) -> dict[str, Any]:
    # Ray flattens nested results with slashes, which our names hold already.
    return {FINAL + name: value for name, value in final_metrics(trainers).items()}


def _inherit(source: Path, folder: Path) -> None:
    """Begin from another trial's checkpoints, unless there are own ones."""
    own = folder / CHECKPOINTS
    if (source / CHECKPOINTS).is_dir() and not CheckpointFolder(own).epochs():
        shutil.copytree(source / CHECKPOINTS, own, dirs_exist_ok=True)


def report_epochs(trainer: Trainer, checkpoints: CheckpointFolder) -> None:
    """Train a network to its end and report its epochs."""
    for result in Lockstep([trainer], [checkpoints]).epochs():
        ray.tune.report({"epoch": result.epoch, **result.metrics})


def open_dataset(path: Path | str, fingerprint: str, *, cpu: float) -> Dataset:
    """Open a worker's dataset, and compute with so many CPUs."""
    use_threads(cpu)
    return _open_dataset(path, fingerprint)


@lru_cache(maxsize=2)
def _open_dataset(path: Path | str, fingerprint: str) -> Dataset:
    """Open a dataset once a process: workers are reused from trial to trial."""
    dataset = Dataset.open(path, fingerprint=fingerprint)
    if dataset.fingerprint != fingerprint:
        raise TrainingError(
            f"{path}: the dataset changed while the search ran (fingerprint "
            f"{dataset.fingerprint[:12]}…, expected {fingerprint[:12]}…)"
        )
    return dataset
