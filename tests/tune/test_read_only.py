"""A study on a medium that nobody can write: every command that only looks shows it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import LOOKS, WRITES, is_one_line, run_refkd
from support.ended_study import end_study

from refkd.data.dataset import Dataset
from tune.study.storage import close_storage

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
]


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, still writable."""
    place = tmp_path / "medium"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a medium needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("left", ["closed", "killed", "journal"])
def test_what_only_looks_needs_to_write_nothing(
    left: str,
    medium: Path,
    tiny_dataset: Dataset,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "made"
    made.mkdir()
    more = {"storage": f"journal:{made}/study.journal"} if left == "journal" else {}
    study = end_study(made, tiny_dataset, **more)
    opened = study.open()
    opened.note("seen", 1)
    if left != "killed":
        close_storage(opened._storage)
    shutil.copytree(made, medium, dirs_exist_ok=True)
    shutil.copy(empty_store, medium / "mlflow.db")
    close_storage(opened._storage)
    study = replace(study, path=medium / "study.yaml")
    if left == "journal":
        study.change(storage=f"journal:{medium}/study.journal")
    study.change(workspace=str(medium / "runs"), tracking={"uri": f"sqlite:///{medium}/mlflow.db"})
    ahead = medium / "runs/studies/ended/study.db-wal"
    assert ahead.exists() == (left == "killed"), "what a killed driver leaves"
    subprocess.run(["mount", "-o", "remount,ro", str(medium)], check=True)
    for name, words in LOOKS.items():
        out = ["--out", str(tmp_path / "report.html")] if name == "report" else []
        ended = run_refkd(monkeypatch, name, study.path, *words, *out)
        assert ended.code == (1 if name == "doctor" else 0), (name, ended)
        assert "Traceback" not in ended.err, name
    both = run_refkd(monkeypatch, "compare", study.path, study.path)
    assert both.code == 0, both
    for name, words in WRITES.items():
        if name != "teach":
            is_one_line(run_refkd(monkeypatch, name, study.path, *words), 2, "written|read-only")
