"""The report in MLflow: on the study's own run, and without disturbing the search's record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.recording import by_name
from support.small_study import SmallStudy, make_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from tune.cli import app
from tune.report.make import Report, report

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:mlflow.*",  # MLflow's own imports
    "ignore::FutureWarning:mlflow.*",
)


def made(study: SmallStudy, out: Path | None = None) -> Report:
    return report(study.path, out=out)


def artefacts(uri: str, folder: str) -> set[str]:
    run = by_name(uri)["quick"]
    return {f.path for f in MlflowClient(uri).list_artifacts(run.info.run_id, folder)}


def test_page_and_pictures_are_kept_with_the_run_of_the_study(
    tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    study = make_study(tmp_path, tiny_dataset, tracking=mlflow_store)
    before = {name: run.info.status for name, run in by_name(mlflow_store).items()}
    noted = study.file.folder / "tracking"
    before_it = {path.name: path.read_bytes() for path in noted.iterdir()}
    found = made(study)
    assert found.sent, found.mlflow
    assert "report/report.html" in artefacts(mlflow_store, "report")
    pictures = artefacts(mlflow_store, "report/figures")
    assert {"report/figures/front.json", "report/figures/pruning.json"} <= pictures
    assert {name: run.info.status for name, run in by_name(mlflow_store).items()} == before
    assert {path.name: path.read_bytes() for path in noted.iterdir()} == before_it


def test_a_picture_is_opened_again_by_plotly(tmp_path: Path, tiny_dataset: Dataset) -> None:
    import plotly.io

    study = make_study(tmp_path, tiny_dataset)
    made(study)
    plot = plotly.io.read_json(study.file.folder / "report" / "figures" / "front.json")
    assert [trace.name for trace in plot.data if trace.name == "complete"]


def test_a_server_that_is_away_delays_the_files_and_not_the_page(
    tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    study = make_study(tmp_path, tiny_dataset, tracking=mlflow_store)
    away = study.path.read_text().replace(mlflow_store, "http://127.0.0.1:9")
    home = study.path.read_text()
    study.path.write_text(away)
    found = made(study)
    assert not found.sent
    assert "did not reach MLflow" in found.mlflow
    assert found.path.is_file()
    study.path.write_text(home)
    assert made(study).sent
    assert artefacts(mlflow_store, "report")


def test_the_command_says_where_the_page_is(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = make_study(tmp_path, tiny_dataset)
    out = tmp_path / "pages" / "morning.html"
    command = ["report", str(study.path), "--out", str(out), "--json"]
    shown = CliRunner().invoke(app, command, catch_exceptions=False)
    facts = json.loads(shown.stdout)
    assert facts["path"] == str(out)
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert facts["mlflow"] == "MLflow is switched off in the study file; nothing was sent"


def test_a_folder_is_no_page(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = make_study(tmp_path, tiny_dataset)
    shown = CliRunner().invoke(app, ["report", str(study.path), "--out", str(tmp_path)])
    assert "is a folder; name a file" in str(shown.exception)
