"""A small study told to a tracker, and what must stand in MLflow afterwards."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from tune.tracking.tracker import Tracker

EXPERIMENT = "refkd/quick"
SECONDS = 120.0


def tracker(uri: str | None, folder: Path, experiment: str = EXPERIMENT) -> Tracker:
    root = None if uri and uri.startswith("http") else folder / "mlartifacts"
    return Tracker(uri, experiment, folder / "spool", study="quick", artifact_root=root)


def tell_everything(track: Tracker, folder: Path, *, trials: int = 2, epochs: int = 3) -> None:
    """Tell of a study with some trials, from start to end."""
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
    """Assert that every event of `tell_everything` stands in the store, and stands there once."""
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
