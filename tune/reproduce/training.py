"""Training the networks of a table as Ray jobs, each from its newest checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray.tune
from filelock import FileLock
from ray.tune import Callback
from ray.tune.experiment import Trial as RayTrial

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import TrainingError
from refkd.training.checkpoint import CheckpointFolder
from refkd.training.export import freeze_student, student_is_frozen
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import TeacherConfig, find_teacher
from tune.execution.jobs import CHECKPOINTS
from tune.execution.runner import fit
from tune.execution.trainables import FAILED, metrics_of, open_dataset, report_epochs, teach
from tune.reproduce.units import Unit
from tune.spec.settings import Resources


class Work(Config):
    """What is the same for all workers; paths are absolute."""

    dataset: Path
    fingerprint: str
    knowledge: Path
    device: str
    threads: int


Told = Callable[[Unit, int, Mapping[str, float]], None]
"""Who is told of each epoch of each network."""


def train_units(
    units: Sequence[Unit], work: Work, resources: Resources, *, workers: int, told: Told
) -> dict[str, str]:
    """Train networks that do not need each other; return why some failed, by their key."""
    watcher = _Watcher({unit.key: unit for unit in units}, told)
    fit(
        functools.partial(train_unit, work=work.model_dump(mode="json")),
        scratch=work.knowledge.parent / "ray",
        resources=resources,
        retries=1,
        param_space={"unit": ray.tune.grid_search([_config(unit) for unit in units])},
        tune_config=ray.tune.TuneConfig(
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: Path(trial.config["unit"]["folder"]).name,
        ),
        callbacks=[watcher],
    )
    return watcher.failures


def train_unit(config: dict[str, Any], *, work: dict[str, Any]) -> None:
    """Train the network that `config["unit"]` describes, unless it exists."""
    told = Work.model_validate(work)
    unit = config["unit"]
    dataset = open_dataset(told.dataset, told.fingerprint, threads=told.threads)
    folder, knowledge = Path(unit["folder"]), told.knowledge
    try:
        if unit["teachers"]:
            _distil(unit, folder, dataset, told)
        else:
            teacher = TeacherConfig.model_validate(unit["config"])
            teach(teacher, folder, dataset, knowledge=knowledge, device=told.device)
    except TrainingError as error:
        ray.tune.report({FAILED: str(error)})


def _distil(unit: dict[str, Any], folder: Path, dataset: Dataset, work: Work) -> None:
    """Train a student unless it is there, reporting its epochs."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "training.lock"):
        if student_is_frozen(folder):
            return
        config = StudentConfig.model_validate(unit["config"])
        teachers = {role: find_teacher(Path(path)) for role, path in unit["teachers"].items()}
        trainer = student_trainer(config, dataset, teachers, work.knowledge, device=work.device)
        checkpoints = CheckpointFolder(folder / CHECKPOINTS)
        report_epochs(trainer, checkpoints)
        freeze_student(trainer, config, dataset, folder)
        checkpoints.clear()


def _config(unit: Unit) -> dict[str, Any]:
    return {
        "key": unit.key,
        "config": unit.config.model_dump(mode="json"),
        "folder": str(unit.folder),
        "teachers": {role: str(teacher.folder) for role, teacher in unit.teachers.items()},
    }


class _Watcher(Callback):
    """Passes epochs on and notes why a network failed."""

    def __init__(self, units: dict[str, Unit], told: Told) -> None:
        self._units, self._told = units, told
        self.failures: dict[str, str] = {}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[RayTrial],
        trial: RayTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Tell of an epoch, or note that training gave up."""
        key = trial.config["unit"]["key"]
        if FAILED in result:
            self.failures[key] = str(result[FAILED])
        elif "epoch" in result and "frozen" not in result:
            self.failures.pop(key, None)
            self._told(self._units[key], int(result["epoch"]), metrics_of(result))

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """Note the last line of the worker's traceback."""
        error = str(trial.get_error() or "the worker process died").strip()
        self.failures[trial.config["unit"]["key"]] = error.splitlines()[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {}
