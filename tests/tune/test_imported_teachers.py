"""Teachers from elsewhere in a study: made without Ray, held to their file, shown as imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from support.answers import Rows, drawn_rows, rows_of_teacher, write
from support.commands import is_one_line, run_refkd
from support.ended_study import end_study
from support.published import MODELS, publish

from refkd.data.dataset import Dataset
from refkd.errors import DataError, RefKDError
from refkd.files import sha256_file
from refkd.training.imported.teacher import ImportedTeacher
from refkd.training.teacher import find_teacher
from tune import search
from tune.audit.study import teachers as teacher_findings
from tune.config.study_file import StudyFile, load_study_file
from tune.display.study import show_taught
from tune.execution.progress import Reporter
from tune.execution.study_jobs import bind_search
from tune.report.headline import compared
from tune.results.comparison import compare
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot
from tune.teach import train_teachers


@pytest.fixture
def file(tiny_dataset: Dataset, tmp_path: Path) -> StudyFile:
    """A study of two teachers that are imported."""
    for role, seed in (("id", 0), ("ood", 1)):
        write(tmp_path / f"{role}.jsonl", drawn_rows(tiny_dataset, seed=seed))
    return written(tmp_path, tiny_dataset)


def written(folder: Path, dataset: Dataset, **changes: Any) -> StudyFile:
    content = {
        "name": "quick",
        "dataset": str(dataset.path),
        "workspace": str(folder / "runs"),
        "backbone": {"hidden": 8, "heads": 2},
        "training": {"epochs": 2},
        "distill": {"warmup_epochs": 1},
        "teachers": {role: {"from": str(folder / f"{role}.jsonl")} for role in ("id", "ood")},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
        "tracking": {"enabled": False},
        **changes,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_study_file(path)


def opened(file: StudyFile) -> SearchStudy:
    file.folder.mkdir(parents=True, exist_ok=True)
    return SearchStudy(file.search_spec(), f"sqlite:///{file.folder / 'study.db'}")


def test_what_a_launch_stores_of_a_study_names_the_file(file: StudyFile, tmp_path: Path) -> None:
    settings = json.loads(json.dumps(file.model_dump(mode="json", by_alias=True)))
    assert StudyFile.model_validate(settings) == file
    assert file.imported == {role: tmp_path / f"{role}.jsonl" for role in ("id", "ood")}
    with pytest.raises(RefKDError, match=r"teachers.id is imported from .*id.jsonl, nothing is"):
        file.teacher_config("id")


def test_teachers_are_made_of_their_files_without_ray(file: StudyFile, tmp_path: Path) -> None:
    """And are not made again."""
    taught = train_teachers(file, address="nowhere:1", reporter=Reporter())
    for role, one in taught.items():
        teacher = find_teacher(one.folder)
        assert isinstance(teacher, ImportedTeacher)
        assert one.metrics == teacher.record.metrics
        assert teacher.origin.sha256 == sha256_file(tmp_path / f"{role}.jsonl")
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("runs/**/*.*")}
    assert {path.parent.name for path in stamps if path.suffix == ".npy"} == {"knowledge"}
    assert train_teachers(file, address="nowhere:1", reporter=Reporter()) == taught
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    printed = StringIO()
    show_taught(Console(file=printed, width=250), taught)
    assert (
        f"imported from id.jsonl (logits, sha256 {sha256_file(tmp_path / 'id.jsonl')[:16]})"
        in (printed.getvalue())
    )
    assert printed.getvalue().count("no network") == 2


def test_an_imported_teacher_is_in_the_caveats(file: StudyFile) -> None:
    assert [caveat.partition(":")[0] for caveat in file.caveats()] == [
        "ID teacher imported from id.jsonl",
        "OOD teacher imported from ood.jsonl",
    ]


def cut(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(lines[:-5]), "utf-8")


BAD: list[tuple[Callable[[Path], object], str]] = [
    (Path.unlink, "ood.jsonl: is missing"),
    (cut, "ood.jsonl: no answer to 5 pairs"),
]


@pytest.mark.parametrize(("damage", "message"), BAD)
def test_a_file_that_is_no_teacher_is_no_launch(
    damage: Callable[[Path], object], message: str, file: StudyFile, tmp_path: Path
) -> None:
    damage(tmp_path / "ood.jsonl")
    with pytest.raises(DataError, match=message):
        search(file)
    assert not (tmp_path / "runs").exists()


def test_a_bad_file_is_bound_to_nothing(
    file: StudyFile, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """Where the dataset is simulated first a file can be read only once the study is open."""
    whole = (tmp_path / "ood.jsonl").read_bytes()
    cut(tmp_path / "ood.jsonl")
    study = opened(file)
    with pytest.raises(DataError, match=r"ood\.jsonl: no answer to 5 pairs"):
        bind_search(study, file, tiny_dataset)
    (tmp_path / "ood.jsonl").write_bytes(whole)
    assert set(bind_search(study, file, tiny_dataset).teachers) == {"id", "ood"}


def test_another_file_is_another_teacher(
    file: StudyFile, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    study = opened(file)
    bind_search(study, file, tiny_dataset)
    bind_search(study, file, tiny_dataset)
    write(tmp_path / "ood.jsonl", drawn_rows(tiny_dataset, seed=2))
    line = (
        r"ood\.jsonl: is not the ood teacher that study 'quick' was begun with.*put that file back"
    )
    with pytest.raises(RefKDError, match=line):
        bind_search(study, file, tiny_dataset)
    trained = written(
        tmp_path, tiny_dataset, teachers={"id": {"from": str(tmp_path / "id.jsonl")}}
    )
    with pytest.raises(RefKDError, match="begun with other values of 'teachers'"):
        bind_search(study, trained, tiny_dataset)


def test_one_file_is_one_teacher(file: StudyFile, tiny_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "ood.jsonl").write_bytes((tmp_path / "id.jsonl").read_bytes())
    with pytest.raises(RefKDError, match=r"are the same answers .*id\.jsonl and .*ood\.jsonl"):
        bind_search(opened(file), file, tiny_dataset)


def test_answers_that_changed_on_disk_are_found(
    file: StudyFile, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    bind_search(opened(file), file, tiny_dataset)
    study = open_snapshot(tmp_path / "study.yaml")
    assert list(teacher_findings(study)) == []
    answers = study.teacher_folders()["ood"] / "answers.safetensors"
    answers.write_bytes(answers.read_bytes()[:-1] + b"\0")
    (found,) = teacher_findings(study)
    assert "answers.safetensors: the weights changed" in found.what


def test_a_comparison_scores_an_imported_teacher_and_does_not_probe_it(
    file: StudyFile, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """With the answers of a trained teacher, its scores are that teacher's."""
    (tmp_path / "ended").mkdir()
    ended = end_study(tmp_path / "ended", tiny_dataset)
    trained = {r: find_teacher(f) for r, f in open_snapshot(ended.path).teacher_folders().items()}
    rows: dict[str, Rows] = {r: rows_of_teacher(t, tiny_dataset) for r, t in trained.items()}  # type: ignore[arg-type]
    for role, held in rows.items():
        write(tmp_path / f"{role}.jsonl", held)
    imported = bind_search(opened(file), file, tiny_dataset).teachers
    roles = (tiny_dataset.role("val_id"), tiny_dataset.role("val_ood"))
    students: dict[str, Any] = {"trial-0007": [trained["id"]]}
    made = compare(students, imported, tiny_dataset, roles, seed=0)
    as_trained = compare(students, trained, tiny_dataset, roles, seed=0)  # type: ignore[arg-type]
    assert made.scores == as_trained.scores
    assert made.differences == as_trained.differences
    assert set(made.probes) == {"trial-0007"}
    assert set(as_trained.probes) == {"trial-0007", "teacher-id", "teacher-ood"}
    alone = compare(students, {}, tiny_dataset, roles, seed=0)
    text = compared({"best-ood": 7}, alone, ("val_id", "val_ood"), "On validation").text
    assert text.endswith("both are imported and have no network.")


def test_a_file_is_checked_before_it_is_a_teacher(
    file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, answers = tmp_path / "study.yaml", tmp_path / "ood.jsonl"
    (found,) = json.loads(run_refkd(monkeypatch, "teach", study, "--check", answers, "--json").out)
    assert found["kind"] == "logits"
    assert found["sha256"] == sha256_file(answers)
    assert set(found["pairs"]) == {"fit", "val_id", "val_ood"}
    assert {"val_id/miou", "val_ood/miou"} <= found["metrics"].keys()
    shown = run_refkd(monkeypatch, "teach", study, "--check", answers)
    assert (shown.code, found["sha256"] in shown.out.replace("\n", "")) == (0, True)
    assert not (tmp_path / "runs").exists()
    is_one_line(
        run_refkd(monkeypatch, "teach", study, "--check", answers, "--tune"), 2, "three commands"
    )
    is_one_line(run_refkd(monkeypatch, "teach", study, "--tune"), 2, "ood is imported from")
    cut(answers)
    is_one_line(
        run_refkd(monkeypatch, "teach", study, "--check", answers), 2, "no answer to 5 pairs"
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_published_checkpoint_writes_the_file_of_a_teacher(
    model: str,
    file: StudyFile,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, published = tmp_path / "study.yaml", publish(model, tiny_dataset, tmp_path)
    out = published.out
    bare = ["teach", study, "--import", model, published.checkpoint]
    given = [word for name, path in published.given.items() for word in (f"--{name}", path)]
    is_one_line(run_refkd(monkeypatch, *bare, *given), 2, "needs --out")
    is_one_line(run_refkd(monkeypatch, *bare, "--out", out), 2, f"is missing: --import {model}")
    words = [*bare, *given, "--out", out]
    (found,) = json.loads(run_refkd(monkeypatch, *words, "--json").out)
    assert (found["file"], found["sha256"]) == (str(out), sha256_file(out))
    assert found["kind"] == ("spans" if model == "tan2d" else "logits")
    teachers = {"id": {"from": str(tmp_path / "id.jsonl")}, "ood": {"from": str(out)}}
    taught = train_teachers(
        written(tmp_path, tiny_dataset, teachers=teachers), address=None, reporter=Reporter()
    )
    assert taught["ood"].metrics == found["metrics"]
    is_one_line(run_refkd(monkeypatch, *words), 2, "answers.npz: exists")
    words[3] = "vsl"
    is_one_line(
        run_refkd(monkeypatch, *words[:-1], "b.npz"), 2, "none of vslnet, emb, qave, tan2d"
    )
