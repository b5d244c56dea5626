"""What is refused before a look is written down, and whose students a look is about."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.ended_study import SCORES, EndedStudy, FakeTrainer, end_study
from support.sealed_watch import watched

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError, DataError, RefKDError
from tune import evaluate_final, finalists
from tune.audit.examine import examine
from tune.study.folders import finalist_folder, trial_folder
from tune.study.ledger import LEDGER, LedgerError, read_looks


@pytest.fixture
def dataset(tiny_dataset: Dataset, tmp_path: Path) -> Dataset:
    """A copy that a test may damage."""
    return Dataset.open(shutil.copytree(tiny_dataset.path, tmp_path / "dataset"))


@pytest.fixture
def study(tmp_path: Path, dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, dataset, replicates={"seeds": 2})


def test_a_damaged_copy_is_written_again_from_the_study(study: EndedStudy) -> None:
    evaluate_final(study.path)
    path = study.file.folder / LEDGER
    before = path.read_bytes()
    for damage in (before[:-5], b"", before.replace(b"ended", b"other")):
        path.write_bytes(damage)
        with pytest.raises(LedgerError, match="was looked at once"):
            evaluate_final(study.path)
        assert path.read_bytes() == before


def test_a_study_that_was_set_back_before_a_look_is_not_looked_at(
    study: EndedStudy, dataset: Dataset
) -> None:
    evaluate_final(study.path)
    with closing(sqlite3.connect(study.file.folder / "study.db")) as storage, storage:
        storage.execute("DELETE FROM study_user_attributes WHERE key LIKE 'look%'")
    with watched(dataset.path / "sealed") as opened:
        for again in (False, True):
            with pytest.raises(LedgerError, match="holds 1 rows, but the study knows of 0 looks"):
                evaluate_final(study.path, again=again, reason="why" if again else None)
    assert opened == []
    found = {f.what: f.fixable for f in examine(study.path).findings if f.check == "ledger"}
    ((said, fixable),) = found.items()
    assert "holds 1 rows" in said
    assert not fixable


def test_a_ledger_that_was_lost_is_no_licence_for_a_second_look(
    study: EndedStudy, dataset: Dataset
) -> None:
    evaluate_final(study.path)
    first = (study.file.folder / "final-1.json").read_bytes()
    (study.file.folder / LEDGER).unlink()
    (found,) = (f for f in examine(study.path).findings if f.check == "ledger")
    assert found.fixable
    with (
        watched(dataset.path / "sealed") as opened,
        pytest.raises(LedgerError, match="was looked at once"),
    ):
        evaluate_final(study.path)
    assert opened == []
    assert (study.file.folder / "final-1.json").read_bytes() == first
    assert len(read_looks(study.file.folder)) == 1


def no_folder(study: EndedStudy) -> None:
    shutil.rmtree(study.file.dataset / "sealed")


def no_features(study: EndedStudy) -> None:
    (study.file.dataset / "sealed" / "features.h5").unlink()


def cut_moments(study: EndedStudy) -> None:
    path = study.file.dataset / "sealed" / "moments.parquet"
    path.write_bytes(path.read_bytes()[:-1])


def no_student(study: EndedStudy) -> None:
    (trial_folder(study.file.folder, 2) / "student.json").unlink()


def changed_student(study: EndedStudy) -> None:
    path = trial_folder(study.file.folder, 2) / "seed-1" / "student.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def no_teacher(study: EndedStudy) -> None:
    shutil.rmtree(study.file.workspace / "teachers" / study.attributes()["teachers"]["id"])


def unfinished(study: EndedStudy) -> None:
    study.change(budget={"trials": len(SCORES) + 1})


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (no_folder, DataError, r"sealed/moments\.parquet: missing"),
        (no_features, DataError, r"sealed/features\.h5: missing"),
        (cut_moments, DataError, r"sealed/moments\.parquet: damaged"),
        (no_student, CheckpointError, "holds no finished student"),
        (changed_student, CheckpointError, "the weights changed"),
        (no_teacher, RefKDError, "the id teacher is gone"),
        (unfinished, RefKDError, "has not ended: 1 of 5"),
    ],
)
def test_what_would_fail_fails_before_a_row_is_written(
    study: EndedStudy, damage: object, error: type[Exception], said: str
) -> None:
    assert callable(damage)
    damage(study)
    with pytest.raises(error, match=said):
        evaluate_final(study.path)
    assert read_looks(study.file.folder) == []


def fake_scores(seeds: int) -> dict[int, list[tuple[float, float]]]:
    return {number: [scores] * seeds for number, scores in SCORES.items()}


@pytest.fixture
def fake(dataset: Dataset) -> FakeTrainer:
    return FakeTrainer(dataset, fake_scores(3))


def test_finalists_take_the_place_of_the_searchs_students(
    study: EndedStudy, fake: FakeTrainer
) -> None:
    found = finalists(study.path, top=1, seeds=3, train=fake)
    report = evaluate_final(study.path)
    assert report.from_finalists
    champions = {alias: c.trial for alias, c in report.look.champions.items()}
    assert champions == found.champions
    for champion in report.look.champions.values():
        folders = [finalist_folder(study.file.folder, champion.trial, seed) for seed in range(3)]
        names = [str(folder.relative_to(study.file.folder)) for folder in folders]
        assert sorted(champion.students) == names
    assert report.seeds == dict.fromkeys(champions, 3)


def test_finalists_must_be_trained_to_their_end(study: EndedStudy, fake: FakeTrainer) -> None:
    fake.dying = {"finalist/0001/seed-0"}
    with pytest.raises(Exception, match="died"):
        finalists(study.path, top=1, seeds=1, train=fake)
    with pytest.raises(RefKDError, match="not trained to their end"):
        evaluate_final(study.path)
    assert read_looks(study.file.folder) == []


def test_finalists_must_be_those_of_the_study_as_it_stands(
    study: EndedStudy, fake: FakeTrainer
) -> None:
    finalists(study.path, top=1, seeds=1, train=fake)
    held = study.attributes()["finalists"]
    study.open().note("finalists", {**held, "trials": 3})
    with pytest.raises(RefKDError, match="had 3 trials when its finalists were chosen, now 4"):
        evaluate_final(study.path)
    assert read_looks(study.file.folder) == []


def test_a_finalist_that_was_exchanged_is_refused(study: EndedStudy, fake: FakeTrainer) -> None:
    finalists(study.path, top=1, seeds=2, train=fake)
    first, second = (finalist_folder(study.file.folder, 2, seed) for seed in range(2))
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with pytest.raises(RefKDError, match="another student"):
        evaluate_final(study.path)
    assert read_looks(study.file.folder) == []
