"""Every table and figure of the paper at smoke scale: trained by Ray, every cell filled."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import yaml
from matplotlib import image
from mlflow import MlflowClient

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.execution.progress import Reporter
from tune.reproduce.experiments import experiments
from tune.reproduce.reproduce import reproduce
from tune.reproduce.request import Request, estimate
from tune.reproduce.scores import SIDES
from tune.reproduce.table import Result
from tune.study.ledger import LedgerError, read_looks
from tune.study.locate import default_tracking

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that all of them share, so that common networks are trained once."""
    return tmp_path_factory.mktemp("reproduce")


class Run(Protocol):
    """Makes a table or figure at smoke scale."""

    def __call__(self, name: str, **more: object) -> tuple[Result, list[Path]]: ...


@pytest.fixture
def run(tiny_dataset: Dataset, workspace: Path, ray_address: str) -> Run:
    def made(name: str, **more: object) -> tuple[Result, list[Path]]:
        request = Request(
            name=name,
            dataset=tiny_dataset.path,
            scale="smoke",
            workspace=workspace,
            **more,  # type: ignore[arg-type]
        )
        return reproduce(request, address=ray_address, reporter=Reporter())

    return made


@pytest.mark.parametrize("name", experiments())
def test_every_cell_is_filled(name: str, run: Run, tiny_dataset: Dataset, workspace: Path) -> None:
    result, written = run(name)
    for cells in result.scored.rows.values():
        for side in SIDES:
            for metric in result.experiment.metrics:
                cell = cells[side][metric]
                assert 0.0 <= cell.value <= 100.0
                assert cell.low <= cell.value <= cell.high
                assert math.isfinite(cell.high)
    files = {path.suffix: path for path in written}
    assert all(path.stat().st_size > 0 for path in written)
    assert "nan" not in files[".md"].read_text(encoding="utf-8").lower()
    if result.experiment.kind != "table":
        picture = image.imread(files[".png"])
        assert min(picture.shape[:2]) > 300
        assert np.std(picture) > 0.01
    settings = yaml.safe_load(files[".yaml"].read_text(encoding="utf-8"))
    assert set(settings["rows"]) == set(result.scored.rows)
    log = files[".jsonl"].read_text(encoding="utf-8").splitlines()
    rows = {json.loads(line)["row"] for line in log}
    assert rows >= set(result.scored.rows)


def test_what_is_trained_is_not_trained_again(
    run: Run, tiny_dataset: Dataset, workspace: Path
) -> None:
    first, _ = run("table3")
    stamps = {p: p.stat().st_mtime_ns for p in workspace.rglob("*.safetensors")}
    asked = Request(name="table3", dataset=tiny_dataset.path, scale="smoke", workspace=workspace)
    assert estimate(asked).epochs == 0
    again, _ = run("table3")
    assert {p: p.stat().st_mtime_ns for p in workspace.rglob("*.safetensors")} == stamps
    assert again.scored == first.scored


def test_mlflow_holds_a_run_a_network(run: Run, tiny_dataset: Dataset, workspace: Path) -> None:
    run("table5")
    client = MlflowClient(default_tracking(workspace).reveal())
    experiment = client.get_experiment_by_name("refkd/reproduce")
    assert experiment is not None
    title = Request(name="table5", dataset=tiny_dataset.path, scale="smoke").title
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    mine = [r for r in runs if r.data.tags.get("refkd.study") == title]
    (parent,) = [r for r in mine if r.data.tags["refkd.role"] == "study"]
    assert {f.path for f in client.list_artifacts(parent.info.run_id, "results")} >= {
        "results/table5.md",
        "results/table5.csv",
    }
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 2 * 4  # two seeds of two teachers and two students
    assert {r.info.status for r in children} == {"FINISHED"}


def test_the_test_roles_are_looked_at_once(
    run: Run, tiny_dataset: Dataset, workspace: Path
) -> None:
    shown, _ = run("table4", final=True)
    home = Request(
        name="table4", dataset=tiny_dataset.path, scale="smoke", workspace=workspace
    ).home
    assert shown.scored.roles == {"id": "test_id", "ood": "test_ood"}
    (look,) = read_looks(home)
    assert set(look.champions) == set(shown.scored.rows)
    assert (home / "table4-test.md").is_file()
    with pytest.raises(LedgerError, match="looked at once"):
        run("table4", final=True)
    again, _ = run("table4", final=True, again=True, reason="a typo")
    assert "a typo" in (home / "table4-test.md").read_text(encoding="utf-8")
    assert len(again.test_evaluations) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "table9"}, "none of table1"),
        ({"scale": "large"}, "none of smoke"),
        ({"again": True}, "goes with --final"),
    ],
)
def test_what_is_not_known_is_named(
    changes: dict[str, object], message: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    asked = {"name": "table3", "dataset": tiny_dataset.path, "workspace": tmp_path, **changes}
    with pytest.raises(RefKDError, match=message):
        reproduce(Request(**asked), address=None, reporter=Reporter())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_other_epochs_are_other_networks_and_another_result(
    run: Run, tiny_dataset: Dataset, workspace: Path
) -> None:
    """One epoch in place of two: nothing of the two is taken for it, and the table says so."""
    run("table4")
    asked = Request(name="table4", dataset=tiny_dataset.path, scale="smoke", workspace=workspace)
    other = replace(asked, epochs=1, seeds=1)
    assert estimate(asked).epochs == 0
    assert estimate(other).epochs == estimate(other).networks
    _, written = run("table4", epochs=1, seeds=1)
    assert estimate(other).epochs == 0
    assert other.folder != asked.folder
    (page,) = [path for path in written if path.suffix == ".md"]
    assert "scale smoke, 1 epochs" in page.read_text(encoding="utf-8")
