"""`refkd evaluate --export`: a champion's windows of every query, and what it opens for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.ended_study import EndedStudy, end_study
from support.sealed_watch import watched
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.data.sealed import open_sealed
from refkd.errors import RefKDError
from tune.cli import app
from tune.study.ledger import read_looks


@pytest.fixture
def dataset(tiny_dataset: Dataset, tmp_path: Path) -> Dataset:
    """A copy whose sealed folder is watched."""
    return Dataset.open(shutil.copytree(tiny_dataset.path, tmp_path / "dataset"))


@pytest.fixture
def study(tmp_path: Path, dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, dataset)


def evaluate(*words: object) -> str:
    shown = CliRunner().invoke(
        app, ["evaluate", *map(str, words)], env={"COLUMNS": "200"}, catch_exceptions=False
    )
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("role", ["val_id", "val_ood"])
def test_a_validation_role_is_answered_without_opening_what_is_sealed(
    study: EndedStudy, dataset: Dataset, tmp_path: Path, role: str
) -> None:
    path = tmp_path / "answers.jsonl"
    with watched(dataset.path / "sealed") as opened:
        said = evaluate(study.path, "--export", "qvhighlights", path, "--role", role)
    assert opened == []
    pairs = dataset.role(role)  # type: ignore[arg-type]
    assert f"{len(pairs)} queries of {role}, answered by trial 2 (best-ood)" in said
    assert [line["qid"] for line in lines(path)] == pairs.pair_ids
    assert read_looks(study.file.folder) == []


def test_the_test_roles_are_answered_with_the_look_and_not_after_it(
    study: EndedStudy, dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "answers.jsonl"
    export = ("--export", "qvhighlights", path)
    evaluate("--final", study.path, *export)
    pairs = [open_sealed(dataset.path, role) for role in ("test_id", "test_ood")]  # type: ignore[arg-type]
    assert [line["qid"] for line in lines(path)] == [i for role in pairs for i in role.pair_ids]
    path.unlink()
    (study.file.folder / "final-1.json").unlink()
    with pytest.raises(RefKDError, match="the look at the test roles is over"):
        evaluate("--final", study.path, *export)
    assert len(read_looks(study.file.folder)) == 1
    assert not path.exists()


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        ("coco", "a.jsonl", "--export coco: unknown format; give qvhighlights"),
        ("qvhighlights", "absent/a.jsonl", r"absent/a\.jsonl: is no file of an existing folder"),
        ("qvhighlights", ".", "is no file of an existing folder"),
    ],
)
@pytest.mark.parametrize("final", [(), ("--final",)])
def test_what_cannot_be_written_is_refused_first(
    study: EndedStudy, tmp_path: Path, form: str, name: str, message: str, final: tuple[str]
) -> None:
    with pytest.raises(RefKDError, match=message):
        evaluate(study.path, *final, "--export", form, tmp_path / name)
    assert read_looks(study.file.folder) == []


def test_another_dataset_is_not_answered(study: EndedStudy, tmp_path: Path) -> None:
    from refkd.data.simulate import SimulationConfig, simulate

    shutil.rmtree(study.file.dataset)
    simulate(out=Path(study.file.dataset), config=SimulationConfig(videos=40, feature_dim=16))
    with pytest.raises(RefKDError, match="is another dataset than the one of the search"):
        evaluate(study.path, "--export", "qvhighlights", tmp_path / "a.jsonl")
