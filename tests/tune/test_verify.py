"""A bit that a disk has lost without a write: found at the start of all that trains."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.ended_study import SCORES, EndedStudy, FakeTrainer, end_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.data.manifest import OPEN_FILES
from refkd.errors import DataError
from refkd.files import write_json
from tune import evaluate_final, finalists
from tune.cli import app
from tune.study.snapshot import open_snapshot

RUN = CliRunner(env={"COLUMNS": "200"}).invoke


@pytest.fixture(params=OPEN_FILES)
def study(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tiny_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> EndedStudy:
    """A study on a dataset with a bit flipped, which this machine has noted as verified."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = shutil.copytree(tiny_dataset.path, tmp_path / "dataset")
    ended = end_study(tmp_path, tiny_dataset)
    ended.change(dataset=str(folder))
    content = bytearray((folder / request.param).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / request.param).write_bytes(bytes(content))
    stats = {name: (folder / name).stat() for name in OPEN_FILES}
    times = {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()}
    note = tmp_path / "cache" / "refkd" / "verified" / f"{tiny_dataset.fingerprint}.json"
    write_json(note, {str(folder.resolve()): times})
    return ended


@pytest.mark.parametrize("command", ["search", "teach", "finalists", "evaluate"])
def test_every_byte_is_compared_at_the_start(study: EndedStudy, command: str) -> None:
    more = ["--final"] if command == "evaluate" else []
    done = RUN(app, [command, str(study.path), *more])
    assert isinstance(done.exception, DataError), done.output
    assert "content differs" in str(done.exception)
    seen = open_snapshot(study.path)
    assert len(seen.launches) == 1
    assert (seen.finalists, seen.look_begun, seen.looks) == (None, None, [])


def test_no_verify_trusts_what_was_verified_before(
    tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read: list[bool] = []
    opened = Dataset.open

    def spy(*place: Any, anew: bool = False, **options: Any) -> Dataset:
        read.append(anew)
        return opened(*place, anew=anew, **options)

    study = end_study(tmp_path, tiny_dataset)
    fake = FakeTrainer(tiny_dataset, {number: [scores] for number, scores in SCORES.items()})
    monkeypatch.setattr(Dataset, "open", spy)
    monkeypatch.setattr("tune.results.finalists._train_with_ray", lambda _, *rest: fake(*rest))
    for command in (["search"], ["teach"], ["finalists", "--top", "1", "--seeds", "1"]):
        for trusted in (["--no-verify"], []):
            read.clear()
            done = RUN(app, [*command, str(study.path), *trusted])
            assert done.exit_code == 0, done.output
            assert any(read) == (not trusted), command


def test_the_look_always_compares(
    tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = end_study(tmp_path, tiny_dataset)
    fake = FakeTrainer(tiny_dataset, {number: [scores] for number, scores in SCORES.items()})
    finalists(study.path, top=1, seeds=1, train=fake, verify=False)
    compared: list[str] = []
    monkeypatch.setattr(
        "refkd.data.dataset.verify_files", lambda folder, *_: compared.append(str(folder))
    )
    evaluate_final(study.path)
    assert compared == [str(tiny_dataset.path)]
