"""A study that grows: its aliases stay where they are until finalists choose, or choose again."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.ended_study import SCORES, EndedStudy, FakeTrainer, add_trial, end_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from tune import finalists, read_summary, search
from tune.cli import app
from tune.config.study_file import load_study_file
from tune.tracking.target import registered_name

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
FRESH = {0: [(20.0, 10.0)], 1: [(32.0, 20.0)], 2: [(12.0, 31.0)], len(SCORES): [(90.0, 90.0)]}
"""Scores on the fresh seed, also of the trial that comes later."""


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str) -> EndedStudy:
    return end_study(tmp_path, tiny_dataset, tracking={"uri": mlflow_store})


def grow(study: EndedStudy, dataset: Dataset) -> None:
    """Add a trial that beats all others, and let the search end."""
    study.change(budget={"trials": len(SCORES) + 1})
    file = load_study_file(study.path)
    add_trial(file, dataset, study.open_with(file), (80.0, 80.0))
    search(study.path)


def aliased(store: str, *, before: bool = False) -> dict[str, str]:
    """Return the trial behind each alias of the registry, or behind those of earlier holders."""
    client, name = MlflowClient(store), registered_name("ended")
    return {
        alias: client.get_model_version_by_alias(name, alias).tags["refkd.trial"]
        for alias in client.get_registered_model(name).aliases
        if alias.endswith("-before") is before
    }


def shown(study: EndedStudy, command: str) -> str:
    return CliRunner().invoke(app, [command, str(study.path)], env={"COLUMNS": "200"}).output


def test_before_finalists_a_search_gives_the_aliases_and_does_not_move_them(
    study: EndedStudy, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    search(study.path)
    assert aliased(mlflow_store) == {"best-id": "0", "best-ood": "2"}
    grow(study, tiny_dataset)
    assert aliased(mlflow_store) == {"best-id": "0", "best-ood": "2"}
    assert aliased(mlflow_store, before=True) == {}
    versions = MlflowClient(mlflow_store).search_model_versions("name = 'refkd-ended'")
    assert {version.tags["refkd.trial"] for version in versions} == {"0", "2", "4"}


def test_only_finalists_take_the_aliases_from_finalists(
    study: EndedStudy,
    tiny_dataset: Dataset,
    mlflow_store: str,
) -> None:
    fake = FakeTrainer(tiny_dataset, FRESH)
    search(study.path)
    found = finalists(study.path, top=1, seeds=1, train=fake).champions
    chosen = {alias: str(number) for alias, number in found.items()}
    assert chosen == {"best-id": "1", "best-ood": "2", "best-balanced": "1"}
    assert aliased(mlflow_store) == chosen
    assert "out of date" not in shown(study, "status")

    grow(study, tiny_dataset)
    summary = read_summary(study.path)
    assert summary.champions == {"best-id": 4, "best-ood": 4}
    assert summary.outgrown
    assert aliased(mlflow_store) == chosen
    for command in ("status", "best"):
        assert "best-ood trial 2" in shown(study, command)
        assert "4 trials had ended when they were chosen, now 5" in shown(study, command)

    finalists(study.path, top=1, seeds=1, train=fake)
    assert set(aliased(mlflow_store).values()) == {"4"}
    assert not read_summary(study.path).outgrown
