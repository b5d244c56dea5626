"""Trials an hour with two workers against one: real students, one core each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import Aim, Row, row
from tune.config.study_file import StudyFile
from tune.launch import search
from tune.study.snapshot import open_snapshot
from tune.study.view import ENDED, TrialView

WHY = """Two students share the memory bus and the last cache, and the driver, MLflow's writer and
Ray's own processes take their time on the same two cores."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield the trials an hour of two workers over those of one.

    The start of Ray and of the workers is left out: a search of any length pays it once.
    """
    with tempfile.TemporaryDirectory() as name:
        rates = {n: _an_hour(_study(Path(name), workers=n, smoke=smoke)) for n in (1, 2)}
    students, epochs = _size(smoke)
    note = (
        f"{rates[2]:.0f} against {rates[1]:.0f} trials an hour, {students} students of {epochs} "
        f"epochs each, {os.cpu_count()} cores, one run"
    )
    figures = [rates[2] / rates[1]]
    aim = Aim(at=">=", bound=1.85)
    yield row("workers", "two workers / one", figures, clock="wall", aim=aim, note=note)


def _size(smoke: bool) -> tuple[int, int]:
    return (3, 2) if smoke else (6, 8)


def _study(folder: Path, *, workers: int, smoke: bool) -> StudyFile:
    students, epochs = _size(smoke)
    small = {"hidden": 16, "heads": 2, "char_dim": 4}
    settings: dict[str, Any] = {
        "name": f"workers-{workers}",
        "dataset": str(folder / "dataset"),
        "simulate": {"videos": 40 if smoke else 120},
        "workspace": str(folder / "runs"),
        "backbone": small if smoke else {"hidden": 64, "heads": 4, "char_dim": 20},
        "training": {"epochs": epochs},
        "distill": {"warmup_epochs": 0},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0], "log": True}},
        "budget": {"trials": students},
        "pruning": {"name": "none"},
        "workers": workers,
    }
    return StudyFile.model_validate(settings)


def _an_hour(file: StudyFile) -> float:
    search(file)
    trials = open_snapshot(file.folder).trials
    return 3600 * epochs_a_second(trials, workers=file.workers) / file.training.epochs


def epochs_a_second(views: Sequence[TrialView], *, workers: int) -> float:
    """Return the epochs stored a second while all workers were at work.

    That is from the moment at which so many trials have stored an epoch until the first worker
    finds nothing left to do; what lies between two trials of a worker is in it.
    """
    begun = sorted(trial.time_of(1) for trial in views)[workers - 1]
    idle = sorted(trial.stamps[ENDED].time for trial in views)[-workers]
    stored = [trial.time_of(epoch) for trial in views for epoch in trial.curve]
    return sum(begun < time <= idle for time in stored) / (idle - begun)
