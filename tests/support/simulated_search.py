"""A search without Ray that is recorded as a real one, and what must stand in MLflow of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType
from support.recorded_curves import TABLE, study_file
from support.recording import runs

from refkd.data.dataset import Dataset
from tune.config.study_file import StudyFile
from tune.study.search_study import SearchStudy
from tune.tracking.record import Record
from tune.tracking.target import experiment_name

TRIALS = 6


def recorded_file(folder: Path, uri: str, **changes: Any) -> StudyFile:
    return study_file(
        name="outage",
        workspace=str(folder / "runs"),
        tracking={"uri": uri, "experiment": f"refkd/{folder.name}"},
        **{"budget": {"trials": TRIALS}, **changes},
    )


def search(
    file: StudyFile,
    dataset: Dataset,
    folder: Path,
    *,
    before: Callable[[int], None] = lambda number: None,
    trials: int | None = None,
) -> SearchStudy:
    """Run the trials that are left, at most so many; `before` is called as each one begins."""
    study = SearchStudy(file.search_spec(), f"sqlite:///{folder / 'study.db'}")
    study.begin_launch()
    with Record(file) as record:
        record.study_started(study, dataset)
        done = 0
        while done != trials and (ask := study.ask()) is not None:
            before(ask.number)
            record.wake()
            done += 1
            curve = TABLE.nearest(ask.values)
            for epoch in range(1, file.training.epochs + 1):
                action = study.record(ask.number, epoch, curve.at(epoch))
                record.wake()
                if action == "stop":
                    study.prune(ask.number)
                    break
            else:
                study.complete(ask.number, curve.at(file.training.epochs))
            record.wake()
    return study


def check(study: SearchStudy, uri: str) -> None:
    """Assert that all trials ended, and that each of their epochs stands in MLflow once."""
    file, views = StudyFile.model_validate(study.spec.source), study.views()
    assert len(views) == TRIALS
    assert {view.state for view in views} <= {"COMPLETE", "PRUNED"}
    client = MlflowClient(uri)
    told = runs(uri, experiment_name(file), view=ViewType.ACTIVE_ONLY)
    found = {run.info.run_name: run for run in told}
    assert len(found) == len(told), "two runs bear one name"
    assert set(found) == {file.name, *(f"trial-{view.number:04d}" for view in views)}
    for view in views:
        run = found[f"trial-{view.number:04d}"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["refkd.state"] == view.state
        history = client.get_metric_history(run.info.run_id, "val_id/miou")
        steps = sorted((point.step, point.value) for point in history)
        assert steps == [(epoch, view.curve[epoch]["val_id/miou"]) for epoch in sorted(view.curve)]
