"""A study whose dataset lies at an address."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from support.ended_study import end_study

from refkd.data.dataset import Dataset
from refkd.errors import DataError
from refkd.urls import Url
from tune import evaluate_final
from tune.config.study_file import StudyFileError, load_study_file
from tune.execution.study_jobs import workplace
from tune.execution.worker import open_dataset
from tune.study.ledger import read_looks


def write(folder: Path, dataset: str, **more: object) -> Path:
    path = folder / "study.yaml"
    space = {"distill.lambda_id": {"float": [0.01, 1.0]}}
    content = {
        "name": "far",
        "dataset": dataset,
        "workspace": str(folder / "runs"),
        "space": space,
    }
    path.write_text(yaml.safe_dump({**content, **more}), encoding="utf-8")
    return path


def test_workers_open_a_copy_of_what_lies_at_the_address(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address = tiny_dataset.path.as_uri()
    file = load_study_file(write(tmp_path, address))
    assert file.dataset == Url(address)
    place = pickle.loads(pickle.dumps(workplace(file, Dataset.open(address))))
    assert place.dataset == Url(address)
    opened = open_dataset(place)
    assert opened.path.is_relative_to(tmp_path / "cache")
    assert opened.fingerprint == tiny_dataset.fingerprint


def test_nothing_is_simulated_at_an_address(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="is an address, and `simulate` makes a folder"):
        load_study_file(write(tmp_path, "s3://bucket/far", simulate={"videos": 60}))


def test_the_test_roles_are_fetched_for_a_look_alone(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    far = Path(shutil.copytree(tiny_dataset.path, tmp_path / "far"))
    study = end_study(tmp_path, Dataset.open(far))
    near = evaluate_final(study.path)
    study.change(dataset=far.as_uri())
    (far / "sealed").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"sealed/moments.parquet: missing, .* bytes expected"):
        evaluate_final(study.path, again=True, reason="from its address")
    assert len(read_looks(study.file.folder)) == 1
    (tmp_path / "gone").rename(far / "sealed")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    found = evaluate_final(study.path, again=True, reason="from its address")
    assert found.comparison == near.comparison
    assert not list(scratch.iterdir())
    assert not list((tmp_path / "cache").rglob("sealed"))
