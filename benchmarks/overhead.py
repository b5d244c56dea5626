"""What a search itself costs: trials that do nothing, stored and told to an MLflow server."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray.tune

from benchmarks.baselines import ray_search
from benchmarks.measure import seconds, timed, wall_seconds
from benchmarks.rows import Aim, Row, row
from benchmarks.server import mlflow_server
from refkd.data.simulate import SimulationConfig, simulate
from refkd.training.student import StudentConfig
from tune.config.study_file import StudyFile
from tune.execution.cluster import ray_session
from tune.execution.jobs import TrainingJob, Workplace
from tune.execution.progress import Reporter
from tune.execution.study_jobs import SearchJobs, StudyJobs
from tune.execution.training import run_jobs
from tune.execution.worker import FINAL
from tune.study.search_study import SearchStudy
from tune.tracking.record import Record

WORKERS = 2


def run(smoke: bool) -> Iterator[Row]:
    """Yield baseline over refkd, until the last trial has ended and until all stands in MLflow.

    One session of Ray serves both, and MLflow is imported before: neither start is counted.
    """
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    import mlflow  # noqa: F401  # else the first of both would pay for it

    trials, reports = (3, 2) if smoke else (32, 10)
    with tempfile.TemporaryDirectory() as name, mlflow_server(Path(name)) as address:
        folder = Path(name)
        file = _study_file(folder, address, trials, reports)
        dataset = simulate(out=Path(str(file.dataset)), config=SimulationConfig(videos=40))
        jobs = StudyJobs(file, dataset)
        study = SearchStudy(file.search_spec(), f"sqlite:///{file.folder / 'study.db'}")
        with ray_session(file.resources, address=None), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Ray and Optuna, in the baseline
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
            baseline = timed(lambda: _baseline(folder, address, trials, reports), wall_seconds)
            begun = wall_seconds()
            study.begin_launch()
            with Record(file) as record:
                record.study_started(study, dataset)
                source = SearchJobs(jobs, study, Reporter(), record.wake)
                run_jobs(source, jobs.place, train=report_nothing)
                searched = wall_seconds() - begun
            delivered = wall_seconds() - begun
    case = f"{trials} trials x {reports} reports, HTTP MLflow"
    aim = Aim(at=">=", bound=5)
    for what, taken in (("all delivered", delivered), ("last trial ended", searched)):
        note = f"{seconds(baseline)} against {seconds(taken)}, one run"
        bound = aim if taken == delivered else None
        figures = [baseline / taken]
        yield row("overhead", f"{case}, {what}", figures, clock="wall", aim=bound, note=note)


def _baseline(folder: Path, address: str, trials: int, reports: int) -> None:
    def train(config: dict[str, Any]) -> None:
        for epoch in range(1, reports + 1):
            ray.tune.report(_metrics(config["lambda_id"], config["lambda_ood"], epoch))

    ray_search.search(train, folder=folder, tracking_uri=address, trials=trials, workers=WORKERS)


def report_nothing(config: dict[str, Any], *, place: Workplace) -> None:
    """Report the epochs of a student that was not trained."""
    job: TrainingJob = config["job"]
    (student,) = job.networks
    assert isinstance(student, StudentConfig)
    for epoch in range(1, student.total_epochs() + 1):
        scores = _metrics(student.distill.lambda_id, student.distill.lambda_ood, epoch)
        ray.tune.report({"epoch": epoch, **scores})
    ray.tune.report({FINAL + name: score for name, score in scores.items()})


def _metrics(a: float, b: float, epoch: int) -> dict[str, float]:
    grown = 1 - 0.5**epoch
    return {
        "val_id/miou": 50 * grown * (1 - (a - 0.7) ** 2 - 0.3 * b),
        "val_ood/miou": 40 * grown * (1 - (b - 0.6) ** 2 - 0.3 * a),
    }


def _study_file(folder: Path, address: str, trials: int, reports: int) -> StudyFile:
    return StudyFile.model_validate(
        {
            "name": "overhead",
            "dataset": str(folder / "dataset"),
            "workspace": str(folder / "runs"),
            "training": {"epochs": reports},
            "distill": {"warmup_epochs": 1},
            "space": {
                "distill.lambda_id": {"float": [0.01, 1.0], "log": True},
                "distill.lambda_ood": {"float": [0.01, 1.0], "log": True},
            },
            "budget": {"trials": trials},
            "pruning": {"name": "none"},
            "workers": WORKERS,
            "tracking": {"uri": address},
        }
    )
