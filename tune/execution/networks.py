"""Networks of a list trained as Ray jobs, each from its newest checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray.tune
from filelock import FileLock

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError, TrainingError
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.export import freeze_student, student_is_frozen
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import TeacherConfig, find_teacher
from tune.execution.jobs import CHECKPOINTS
from tune.execution.runner import fit
from tune.execution.trainables import FAILED, metrics_of, open_dataset, report_epochs, teach
from tune.execution.watcher import Watcher
from tune.spec.limits import Resources
from tune.spec.study_file import Address


class Work(Config):
    """What is the same for all workers; paths are absolute."""

    dataset: Path | Address
    fingerprint: str
    knowledge: Path
    scratch: Path
    """Folder of Ray's own, removed afterwards."""
    device: str
    cpu: float
    """What each may compute with."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A teacher or a student to train into a folder."""

    key: str
    """Its name in logs."""
    config: TeacherConfig | StudentConfig
    folder: Path
    teachers: Mapping[str, Path] = field(default_factory=dict)
    """Folders of a student's teachers, by `id` and `ood`."""


Told = Callable[[str, int, Mapping[str, float]], None]
"""Who is told of each epoch of each network, by its key."""


def work_on(
    place: Path | str, dataset: Dataset, workspace: Path, resources: Resources, *, scratch: Path
) -> Work:
    """Return what the workers of a workspace are told; `place` is where they find the dataset."""
    return Work(
        dataset=place.absolute() if isinstance(place, Path) else place,
        fingerprint=dataset.fingerprint,
        knowledge=workspace.absolute() / "knowledge",
        scratch=scratch,
        device="cuda" if resources.gpu > 0 else "cpu",
        cpu=resources.cpu,
    )


def train_networks(
    networks: Sequence[Network], work: Work, resources: Resources, *, workers: int, told: Told
) -> dict[str, str]:
    """Train networks that do not need each other; return why some failed, by their key."""
    watcher = _Watcher(told)
    fit(
        functools.partial(train_network, work=work.model_dump(mode="json")),
        scratch=work.scratch,
        resources=resources,
        retries=1,
        param_space={"network": ray.tune.grid_search([_config(one) for one in networks])},
        tune_config=ray.tune.TuneConfig(
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: Path(trial.config["network"]["folder"]).name,
        ),
        callbacks=[watcher],
    )
    return watcher.failures


def train_network(config: dict[str, Any], *, work: dict[str, Any]) -> None:
    """Train the network that `config["network"]` describes, unless it exists."""
    told = Work.model_validate(work)
    one = config["network"]
    dataset = open_dataset(told.dataset, told.fingerprint, cpu=told.cpu)
    folder, knowledge = Path(one["folder"]), told.knowledge
    try:
        if one["teachers"]:
            _distil(one, folder, dataset, told)
        else:
            teacher = TeacherConfig.model_validate(one["config"])
            place = {"device": told.device}
            teach(teacher, folder, dataset, knowledge=knowledge, place=place)
    except (TrainingError, CheckpointError) as error:
        ray.tune.report({FAILED: str(error)})


def _distil(one: dict[str, Any], folder: Path, dataset: Dataset, work: Work) -> None:
    """Train a student unless it is there, reporting its epochs."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "training.lock"):
        if student_is_frozen(folder):
            return
        config = StudentConfig.model_validate(one["config"])
        teachers = {role: find_teacher(Path(path)) for role, path in one["teachers"].items()}
        trainer = student_trainer(config, dataset, teachers, work.knowledge, device=work.device)
        checkpoints = CheckpointFolder(folder / CHECKPOINTS)
        report_epochs(trainer, checkpoints)
        checkpoints.check_claim()
        freeze_student(trainer, config, dataset, folder)
        checkpoints.clear()


def _config(network: Network) -> dict[str, Any]:
    return {
        "key": network.key,
        "config": network.config.model_dump(mode="json"),
        "folder": str(network.folder),
        "teachers": {role: str(folder) for role, folder in network.teachers.items()},
    }


class _Watcher(Watcher):
    """Passes epochs on and notes why a network failed."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self.failures: dict[str, str] = {}

    def reported(self, config: dict[str, Any], result: dict[str, Any]) -> None:
        """Tell of an epoch, or note that training gave up."""
        key = config["network"]["key"]
        if FAILED in result:
            self.failures[key] = str(result[FAILED])
        elif "epoch" in result and "frozen" not in result:
            self.failures.pop(key, None)
            self._told(key, int(result["epoch"]), metrics_of(result))

    def died(self, config: dict[str, Any], cause: str) -> None:
        """Note the cause."""
        self.failures[config["network"]["key"]] = cause
