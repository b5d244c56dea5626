"""A study whose dataset lies at an address."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from refkd.data.dataset import Dataset
from tune.execution.jobs import Job, make_job
from tune.execution.trainables import open_dataset
from tune.spec.study_file import StudyFileError, load_study_file


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
    assert file.dataset == address
    made = make_job(file, Dataset.open(address), teacher_epochs=1)
    told = made.model_dump(mode="json", by_alias=True)
    job = Job.model_validate(told)
    opened = open_dataset(job.dataset, job.fingerprint, threads=1)
    assert opened.path.is_relative_to(tmp_path / "cache")
    assert opened.fingerprint == tiny_dataset.fingerprint


def test_nothing_is_simulated_at_an_address(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="is an address, and `simulate` makes a folder"):
        load_study_file(write(tmp_path, "s3://bucket/far", simulate={"videos": 60}))
