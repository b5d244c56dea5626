"""The finalists' students as one run of Ray Tune, a trial of Ray's a student."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import ray.tune

from tune.execution.jobs import Job
from tune.execution.runner import fit
from tune.execution.trainables import FAILED, FINAL, metrics_of, train_student
from tune.execution.watcher import Watcher
from tune.finals.choice import FinalistRun
from tune.finals.trainer import FinalistListener


def run_finalists(
    job: Job, runs: Sequence[FinalistRun], listener: FinalistListener
) -> dict[FinalistRun, str]:
    """Train students, each from its newest checkpoint; return why a worker died, by its run."""
    watcher = _Watcher({run.key: run for run in runs}, listener)
    fit(
        functools.partial(train_finalist, job=job.model_dump(mode="json", by_alias=True)),
        scratch=job.folder / "ray",
        resources=job.study.resources,
        retries=job.study.retries,
        param_space={"run": ray.tune.grid_search([_config(run) for run in runs])},
        tune_config=ray.tune.TuneConfig(
            max_concurrent_trials=job.study.workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.config["run"]["key"].replace(":", "-"),
        ),
        callbacks=[watcher],
    )
    return {watcher.runs[key]: cause for key, cause in watcher.causes.items()}


def train_finalist(config: dict[str, Any], *, job: dict[str, Any]) -> None:
    """Train the student that `config["run"]` describes to `train_student`."""
    train_student(config["run"], job=job)


def _config(run: FinalistRun) -> dict[str, Any]:
    return {
        "key": run.key,
        "number": run.number,
        "values": run.values,
        "seeds": [run.seed],
        "race": 1,
        "continues": None,
        "inherited": 0,
        "folder": str(run.folder),
        "leaves": False,
    }


class _Watcher(Watcher):
    """Passes reports on to the listener and notes why a worker died."""

    def __init__(self, runs: dict[str, FinalistRun], listener: FinalistListener) -> None:
        self.runs = runs
        self.causes: dict[str, str] = {}
        self._listener = listener

    def reported(self, config: dict[str, Any], result: dict[str, Any]) -> None:
        """Tell of an epoch, of the end, or of training that gave up."""
        key = config["run"]["key"]
        if FAILED in result:
            self._listener.failed(self.runs[key], str(result[FAILED]))
            return
        epoch = int(result["epoch"])
        self._listener.epoch(self.runs[key], epoch, metrics_of(result))
        final = {k.removeprefix(FINAL): v for k, v in result.items() if k.startswith(FINAL)}
        if final:
            self.causes.pop(key, None)
            self._listener.trained(self.runs[key], epoch, final)

    def died(self, config: dict[str, Any], cause: str) -> None:
        """Note the cause."""
        self.causes[config["run"]["key"]] = cause
