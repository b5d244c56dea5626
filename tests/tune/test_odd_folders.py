"""Workspaces whose names mean something in a URL: each keeps its own databases inside itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chaos import Workspace

from refkd.urls import Url
from tune.study.locate import StudyPlace, default_tracking, find_study, locate
from tune.study.sqlite_view import read_sqlite
from tune.study.storage import close_storage, file_of, open_storage, store_file
from tune.tracking.store import connect

pytestmark = pytest.mark.filterwarnings(
    "ignore::sqlalchemy.exc.SADeprecationWarning",  # of MLflow's
)
NAMES = [
    "exp?lr=1",
    "exp?lr=2",
    "a#b",
    "50%",
    "%3F",
    "a b",
    "日本",
    "{x}",
    "a@b:c@d",
    "***",
    "${X}",
]
ODD = "exp?lr=1 #2 %20{x} ü"


def place(workspace: Path) -> StudyPlace:
    folder = workspace / "studies" / "quick"
    folder.mkdir(parents=True)
    (folder / "study.db").touch()
    return find_study(folder)


def begin(url: Url) -> None:
    storage = open_storage(url)
    optuna.create_study(study_name="quick", storage=storage)
    close_storage(storage)


def test_a_study_lies_in_its_workspace_alone(tmp_path: Path) -> None:
    for name in NAMES:
        url = place(tmp_path / name).storage
        begin(url)
        assert file_of(url) == (tmp_path / name / "studies/quick/study.db").resolve()
        assert read_sqlite(url, "quick") is not None
        assert find_study(url).folder == tmp_path / name / "studies" / "quick"
    for name in NAMES:  # and in no other's: each holds one study
        with closing(sqlite3.connect(tmp_path / name / "studies/quick/study.db")) as database:
            assert database.execute("SELECT count(*) FROM studies").fetchone() == (1,)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0/"), max_size=20))
def test_a_workspace_of_any_name(name: str) -> None:
    workspace = Path("/workspaces") / f"x{name}"
    assert store_file(default_tracking(workspace)) == workspace / "mlflow.db"
    assert file_of(Url.of_file(workspace / "study.db")) == workspace / "study.db"


@pytest.mark.parametrize("name", ["exp?lr=1", "exp?lr=2", ODD])
def test_an_mlflow_store_lies_in_its_workspace_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    client = connect(default_tracking(tmp_path / name))
    assert client.get_experiment_by_name("nothing") is None
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [
        Path(name) / "mlflow.db"
    ]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_variable_may_hold_such_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFKD_TEST_PLACE", str(tmp_path / ODD))
    expected = (tmp_path / ODD / "a.db").resolve()
    assert file_of("sqlite:///${REFKD_TEST_PLACE}/a.db") == expected
    assert file_of("journal:${REFKD_TEST_PLACE}/a.db") == expected


@pytest.mark.system
def test_every_command_works_in_such_a_folder(workspace: Workspace) -> None:
    runs = workspace.folder / ODD
    workspace.write(
        workspace=str(runs), training={"epochs": 2, "batch_size": 64}, budget={"trials": 2}
    )
    before = {path.name for path in workspace.folder.iterdir()}
    assert workspace.search() == 0, workspace.said()
    for command in ("status", "doctor", "replay", "report", "sync"):
        done = workspace.refkd(command)
        assert done.returncode == 0, done.stderr
    assert locate(workspace.study).folder.parent.parent == runs
    made = {path.name for path in workspace.folder.iterdir()} - before
    assert made == {ODD, workspace.output.name}
