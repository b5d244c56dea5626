"""A workspace that was moved or copied is known as such, and a copy writes into no original."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from support.recording import runs
from support.small_study import SmallStudy, make_study

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.urls import Url
from tune import compat
from tune.audit.examine import examine
from tune.config.study_file import load_study_file
from tune.study.home import elsewhere, settle
from tune.study.snapshot import open_snapshot
from tune.study.storage import close_storage
from tune.study.stored_study import identity_of
from tune.tracking.relocate import relocate
from tune.tracking.sync import sync
from tune.tracking.target import Target, experiment_name


def settled(study: SmallStudy) -> str | None:
    opened = study.open()
    found = settle(opened, study.file)
    close_storage(opened.optuna._storage)
    return None if found is None else str(found)


def brought(study: SmallStudy, folder: Path, tracking: str | None) -> SmallStudy:
    """Return the study whose workspace has come to a folder."""
    content = yaml.safe_load(study.path.read_text(encoding="utf-8"))
    content["workspace"] = str(folder / "runs")
    content["tracking"] = {"uri": tracking, "enabled": tracking is not None}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    file = load_study_file(path)
    return SmallStudy(path=path, file=file, url=f"sqlite:///{file.folder / 'study.db'}")


@pytest.fixture
def own(tmp_path: Path, tiny_dataset: Dataset, empty_store: Path) -> SmallStudy:
    """A study whose MLflow store lies in its workspace."""
    folder = tmp_path / "original"
    (folder / "runs").mkdir(parents=True)
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    study = make_study(folder, tiny_dataset, tracking=f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    assert settled(study) is None
    assert settled(study) is None
    return study


def identity(study: SmallStudy) -> str | None:
    return identity_of(open_snapshot(study.path).attributes)


def names_of(study: SmallStudy, name: str) -> set[str | None]:
    """Return where the runs of a study's store have their files."""
    uri = str(study.file.tracking.uri)
    found = runs(uri, experiment_name(study.file))
    return {str(run.info.artifact_uri).partition(name)[1] for run in found}


def test_a_moved_workspace_is_told_once_and_goes_on(own: SmallStudy, tmp_path: Path) -> None:
    known = identity(own)
    folder = tmp_path / "moved"
    folder.mkdir()
    (own.path.parent / "runs").rename(folder / "runs")
    moved = brought(own, folder, f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    said = settled(moved)
    assert said is not None
    assert f"moved from {own.file.folder}" in said
    assert str(moved.file.folder) in said
    assert settled(moved) is None
    assert identity(moved) == known
    sync(moved.path)
    assert names_of(moved, "/moved/runs/mlartifacts") == {"/moved/runs/mlartifacts"}
    assert examine(moved.path).findings == []


def test_a_copy_with_its_own_record_writes_nothing_to_the_original(
    own: SmallStudy, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(own.path.parent, folder)
    copy = brought(own, folder, f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    artifacts = own.file.workspace / "mlartifacts"
    files = sorted(artifacts.rglob("*"))
    sync(copy.path, everything=True)
    assert names_of(copy, "/copy/runs/mlartifacts") == {"/copy/runs/mlartifacts"}
    assert names_of(own, "/original/runs/mlartifacts") == {"/original/runs/mlartifacts"}
    assert sorted(artifacts.rglob("*")) == files
    assert files
    assert identity(copy) == identity(own)
    said_once = settled(copy)
    assert said_once is not None
    assert "is a copy of" in said_once
    assert "both go on apart" in said_once
    assert settled(copy) is None
    assert settled(own) is None


def test_a_copy_with_the_originals_record_becomes_a_study_of_its_own(
    own: SmallStudy, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(own.path.parent / "runs", folder / "runs")
    uri = own.file.tracking.uri
    assert uri is not None
    copy = brought(own, folder, uri.reveal())
    before = {run.info.run_id for run in runs(uri.reveal(), experiment_name(own.file))}
    with pytest.raises(RefKDError, match=r"is a copy of .*run `refkd search` in the copy first"):
        sync(copy.path)
    (finding,) = examine(copy.path).findings
    assert "has no runs of its own in MLflow" in finding.what
    said = settled(copy)
    assert said is not None
    assert "runs of its own in MLflow" in said
    assert identity(copy) != identity(own)
    sync(copy.path, everything=True)
    after = {run.info.run_id for run in runs(uri.reveal(), experiment_name(own.file))}
    assert before < after
    assert len(after) == 2 * len(before)
    assert examine(own.path).findings == []


def test_a_storage_of_its_own_place_holds_one_study_wherever_it_is_opened(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    url = f"sqlite:///{tmp_path / 'central.db'}"
    (tmp_path / "a").mkdir()
    study = make_study(tmp_path / "a", tiny_dataset, storage=url)
    assert settled(study) is None
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    other = brought(study, tmp_path / "b", None)
    assert elsewhere(other.file, open_snapshot(study.path).attributes) is None


def test_only_files_of_the_workspace_itself_are_given_their_new_place(tmp_path: Path) -> None:
    """A `%` or `_` in the old folder's URI stands for itself."""
    workspace = tmp_path / "moved"
    workspace.mkdir()
    store = workspace / "mlflow.db"
    old, near = "file:///x/a%20_b/mlartifacts", "file:///x/aZ20Zb/mlartifacts"
    before = [old, f"{old}/1/artifacts", near, f"{near}/1/artifacts", f"{old}-2/1"]
    with closing(sqlite3.connect(store)) as database, database:
        for table, column in compat.SQL_ARTIFACTS:
            database.execute(f"CREATE TABLE {table} ({column} TEXT)")
            database.executemany(f"INSERT INTO {table} VALUES (?)", [(uri,) for uri in before])
    target = Target(
        uri=Url.of_file(store),
        experiment="e",
        study="s",
        identity="i",
        workspace=workspace,
        folder=tmp_path,
    )
    relocate(target, old)
    now = (workspace / "mlartifacts").as_uri()
    with closing(sqlite3.connect(store)) as database:
        for table, column in compat.SQL_ARTIFACTS:
            held = [row[0] for row in database.execute(f"SELECT {column} FROM {table}")]
            assert held == [now, f"{now}/1/artifacts", *before[2:]]
