"""Operations for MLflow, made by hand, and what must stand there afterwards."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from refkd.urls import Url
from tune.tracking.delivery import Delivered, Delivery
from tune.tracking.operations import (
    STUDY_RUN,
    BeginRun,
    EndRun,
    KeepModel,
    LogEpoch,
    Operation,
    kept_file,
)
from tune.tracking.target import Target

EXPERIMENT = "refkd/quick"
SECONDS = 120.0


def target(uri: str, folder: Path, experiment: str = EXPERIMENT) -> Target:
    return Target(
        uri=Url(uri),
        experiment=experiment,
        study="quick",
        identity=folder.name,
        workspace=folder,
        folder=folder / "tracking",
    )


class Tracked:
    """A source that grows as a study would, and its delivery."""

    def __init__(self, uri: str, folder: Path, experiment: str = EXPERIMENT) -> None:
        self._operations: list[Operation] = []
        self._delivery = Delivery(target(uri, folder, experiment), lambda: self.news)

    def news(self) -> list[Operation]:
        return self._operations.copy()

    def put(self, operation: Operation) -> None:
        self._operations.append(operation)
        self._delivery.wake()

    def study_started(
        self, params: Mapping[str, str], tags: Mapping[str, str], files: Iterable[Path]
    ) -> None:
        tags = {**tags, "refkd.study": "quick", "refkd.role": "study"}
        self.run_started(STUDY_RUN, "quick", params, tags)
        for path in files:
            self.artifact(STUDY_RUN, path, None)

    def run_started(
        self, run: str, name: str, params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        self.put(BeginRun(run=run, time=_now(), name=name, params=params, tags=tags))

    def epoch(self, run: str, epoch: int, metrics: Mapping[str, float]) -> None:
        self.put(LogEpoch(run=run, time=_now(), epoch=epoch, metrics=metrics))

    def artifact(self, run: str, path: Path, folder: str | None) -> None:
        self.put(kept_file(run, path, folder, at=time.time()))

    def model(self, run: str, name: str, path: Path, **facts: Any) -> None:
        data = {**dict.fromkeys(("name", "digest", "source", "context"), "quick"), "profile": "{}"}
        self.put(
            KeepModel(run=run, time=_now(), name=name, paths=[str(path)], dataset=data, **facts)
        )

    def run_ended(
        self, run: str, status: Any, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> None:
        self.put(EndRun(run=run, time=_now(), status=status, tags=tags, metrics=metrics))

    def close(self, seconds: float, *, struggling: float = math.inf) -> Delivered:
        return self._delivery.close(seconds, struggling=struggling)


def _now() -> int:
    return round(1000 * time.time())


def tracker(uri: str, folder: Path, experiment: str = EXPERIMENT) -> Tracked:
    return Tracked(uri, folder, experiment)


def put_everything(track: Tracked, folder: Path, *, trials: int = 2, epochs: int = 3) -> None:
    """Put what a study with some trials would, from start to end."""
    note = folder / "study.yaml"
    note.write_text("name: quick\n")
    track.study_started({"budget.trials": "2"}, {"refkd.seed": "0"}, [note])
    for number in range(trials):
        key = f"trial/{number:04d}"
        track.run_started(
            key, f"trial-{number:04d}", {"distill.tau": str(number)}, {"refkd.trial": str(number)}
        )
        for epoch in range(1, epochs + 1):
            track.epoch(
                key, epoch, {"val_id/miou": 10.0 * number + epoch, "train/loss": 1 / epoch}
            )
        track.run_ended(key, "FINISHED", {"refkd.state": "COMPLETE"}, {})


def runs(uri: str, experiment: str = EXPERIMENT, *, view: int = ViewType.ALL) -> list[Run]:
    """Return an experiment's runs; none where it does not exist."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id], "", view))


def by_name(uri: str, experiment: str = EXPERIMENT) -> dict[str, Run]:
    """Return an experiment's runs by their names, of which no two may be equal."""
    found = runs(uri, experiment)
    named = {str(run.info.run_name): run for run in found}
    assert len(named) == len(found), "two runs bear one name"
    return named


def rows(uri: str, run: Run, metric: str = "val_id/miou") -> list[tuple[int, float]]:
    """Return every stored row of a metric: step and value."""
    history = MlflowClient(uri).get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in history)


def check_everything(
    uri: str, experiment: str = EXPERIMENT, *, trials: int = 2, epochs: int = 3
) -> None:
    """Assert that every event of `put_everything` stands in the store, and stands there once."""
    found = by_name(uri, experiment)
    assert set(found) == {"quick", *(f"trial-{n:04d}" for n in range(trials))}
    parent = found["quick"]
    assert parent.data.tags["refkd.study"] == "quick"
    for number in range(trials):
        run = found[f"trial-{number:04d}"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["refkd.state"] == "COMPLETE"
        assert run.data.params == {"distill.tau": str(number)}
        assert rows(uri, run) == [(e, 10.0 * number + e) for e in range(1, epochs + 1)]
