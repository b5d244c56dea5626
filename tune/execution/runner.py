"""Ray Tune runs: one for the teachers that are missing, one for the students."""

from __future__ import annotations

import functools
import logging
import secrets
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import ray.tune
from ray.tune import Callback

from tune import compat
from tune.execution.jobs import Job
from tune.execution.searcher import Board, Listener, StudyScheduler, StudySearcher
from tune.execution.trainables import FAILED, metrics_of, train_student, train_teacher
from tune.execution.watcher import Watcher
from tune.spec.limits import Resources
from tune.study.search_study import SearchStudy

_log = logging.getLogger(__name__)


class TeacherListener(Protocol):
    """Whoever is told what happens while teachers are trained."""

    def teacher_epoch(self, role: str, epoch: int, metrics: Mapping[str, float]) -> None: ...


def run_teachers(
    job: Job, roles: Sequence[str], listeners: Sequence[TeacherListener]
) -> dict[str, str]:
    """Train the teachers named; return the reason for each that failed."""
    watcher = _TeacherWatcher(listeners)
    fit(
        functools.partial(train_teacher, job=job.model_dump(mode="json", by_alias=True)),
        scratch=job.folder / "ray",
        resources=job.study.resources,
        retries=job.study.retries,
        param_space={"role": ray.tune.grid_search(list(roles))},
        tune_config=ray.tune.TuneConfig(
            max_concurrent_trials=job.study.workers,
            trial_dirname_creator=lambda trial: f"teacher-{trial.config['role']}",
        ),
        callbacks=[watcher],
    )
    return watcher.failures


def run_students(
    job: Job,
    study: SearchStudy,
    listeners: Sequence[Listener],
    *,
    train: Callable[..., None] = train_student,
) -> None:
    """Run the trials that are left, as the study asks for them, each by `train`."""
    board = Board(study=study, listeners=list(listeners))
    fit(
        functools.partial(train, job=job.model_dump(mode="json", by_alias=True)),
        scratch=job.folder / "ray",
        resources=job.study.resources,
        retries=0,  # the study hands a trial out again
        param_space=None,
        tune_config=ray.tune.TuneConfig(
            search_alg=StudySearcher(board),
            scheduler=StudyScheduler(board),
            num_samples=-1,
            max_concurrent_trials=job.study.workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"{trial.config['number']:04d}-{trial.trial_id}",
        ),
        callbacks=[],
    )


def fit(
    trainable: Any,
    *,
    scratch: Path,
    resources: Resources,
    retries: int,
    param_space: dict[str, Any] | None,
    tune_config: ray.tune.TuneConfig,
    callbacks: list[Callback],
) -> None:
    """Run a Tuner of its own; its folder `scratch` is of no worth afterwards and is removed."""
    name = f"launch-{secrets.token_hex(4)}"
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
        param_space=param_space,
        tune_config=tune_config,
        run_config=ray.tune.RunConfig(
            name=name,
            storage_path=str(scratch),
            verbose=0,
            callbacks=callbacks,
            failure_config=ray.tune.FailureConfig(max_failures=retries),
        ),
    )
    try:
        with compat.credentials_withheld(), warnings.catch_warnings():
            # Ray's own use of deprecated interfaces is nothing a user can mend.
            warnings.simplefilter("ignore")
            tuner.fit()
    finally:
        _remove(scratch)


def _remove(scratch: Path) -> None:
    """Remove what Ray wrote; what a late worker holds open must not cost a search its end."""
    try:
        if scratch.exists():
            shutil.rmtree(scratch)
    except OSError as error:
        _log.warning("%s is left there (%s); it can be removed by hand", scratch, error)


class _TeacherWatcher(Watcher):
    """Passes teachers' epochs on and notes why one failed."""

    def __init__(self, listeners: Sequence[TeacherListener]) -> None:
        self._listeners = listeners
        self.failures: dict[str, str] = {}

    def reported(self, config: dict[str, Any], result: dict[str, Any]) -> None:
        """Tell the listeners."""
        role = config["role"]
        if FAILED in result:
            self.failures[role] = str(result[FAILED])
        elif "frozen" not in result:
            metrics = metrics_of(result)
            for listener in self._listeners:
                listener.teacher_epoch(role, int(result["epoch"]), metrics)

    def died(self, config: dict[str, Any], cause: str) -> None:
        """Note the cause."""
        self.failures[config["role"]] = cause
