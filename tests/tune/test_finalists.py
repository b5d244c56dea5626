"""Finalists that a stand-in trains: what is kept, continued, chosen and told."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.ended_study import EPOCHS, EndedStudy, FakeTrainer, end_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.evaluation.comparison import (
    MEANING,
    PairScores,
    difference_row,
    gap_row,
    mean_row,
    per_pair,
)
from refkd.retriever import Retriever
from refkd.training.export import open_student
from refkd.training.teacher import Teacher, find_teacher
from refkd.training.validated import VALIDATED
from refkd.training.validation import evaluate_role
from tune import Finalists, finalists
from tune.cli import app
from tune.config.study_file import StudyFileError
from tune.display.comparison import show_finalists
from tune.execution.jobs import InterruptedSearchError
from tune.results.bill import make_bill
from tune.results.finalists import fresh_seeds, read_results
from tune.study.folders import finalist_folder
from tune.study.lease import LeaseError, lease
from tune.study.locate import NoStudyError
from tune.study.snapshot import open_snapshot

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
SCORES = {
    0: [(40.0, 10.0), (20.0, 10.0)],
    1: [(32.0, 20.0), (30.0, 20.0)],
    2: [(10.0, 35.0), (12.0, 31.0)],
}
"""Trial 0 has the best seed in distribution, trial 1 the best mean there."""
RUNS = [f"finalist/{number:04d}/seed-{seed}" for seed in range(2) for number in range(3)]


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, tiny_dataset)


@pytest.fixture
def fake(tiny_dataset: Dataset) -> FakeTrainer:
    return FakeTrainer(tiny_dataset, SCORES)


def run(study: EndedStudy, fake: FakeTrainer, *, seeds: int = 2) -> Finalists:
    return finalists(study.path, top=1, seeds=seeds, train=fake)


def kept(study: EndedStudy) -> dict[str, object]:
    return {k: v for k, v in study.attributes().items() if k.startswith("finalist:")}


def test_champions_are_chosen_by_the_mean_over_fresh_seeds(
    study: EndedStudy, fake: FakeTrainer
) -> None:
    found = run(study, fake)
    assert fake.trained == RUNS
    assert found.champions == {"best-id": 1, "best-ood": 2, "best-balanced": 1}
    assert found.kept == {"best-id": 0, "best-ood": 0, "best-balanced": 0}
    assert found.seeds == fresh_seeds(study.file, 2)
    (row,) = [row for row in found.finalists if row.trial == 2]
    assert row.metrics["val_ood/miou"] == 33.0
    assert row.metrics["sd/val_ood/miou"] == pytest.approx(np.std([35.0, 31.0], ddof=1))
    assert row.metrics["cost/cpu_seconds"] == 2.0


def test_each_champion_says_how_sure_it_is(study: EndedStudy, fake: FakeTrainer) -> None:
    found = run(study, fake)
    assert {alias: one.best for alias, one in found.standings.items()} == found.champions
    for one in found.standings.values():
        assert one.probability.keys() == {row.trial for row in found.finalists}
        assert one.seeds == len(found.seeds)
        assert one.optimism > -0.5
    assert found.standings["best-ood"].probability[2] > 0.5
    out = StringIO()
    show_finalists(Console(file=out, width=400), found, study.file.folder)
    assert "best-ood: trial 2 is the best of 3 with probability" in out.getvalue()


def test_where_a_student_kept_nothing_of_its_pairs_nothing_is_said(
    study: EndedStudy, fake: FakeTrainer
) -> None:
    run(study, fake)
    (finalist_folder(study.file.folder, 0, 0) / VALIDATED).unlink()
    assert run(study, fake).standings == {}


def test_what_they_came_to_is_in_the_study_and_on_disk(
    study: EndedStudy, fake: FakeTrainer
) -> None:
    found = run(study, fake)
    results = read_results(study.attributes())
    assert {f"finalist:{n:04d}:{s}" for n, s in results} == kept(study).keys()
    assert sorted(results) == [(n, s) for n in range(3) for s in range(2)]
    for (number, seed), result in results.items():
        student = open_student(finalist_folder(study.file.folder, number, seed))
        assert (result.sha256, result.seed) == (student.record.sha256, student.record.config.seed)
        assert result.epochs == EPOCHS
        assert not (student.folder / "checkpoints").exists()
    scores = study.file.folder / "finalists" / "scores.json"
    assert Finalists.model_validate_json(scores.read_text()) == found
    assert Finalists.model_validate(study.attributes()["finalists"]) == found
    champions = study.file.folder / "finalists" / "champions"
    for alias in found.champions:
        Retriever.load(champions / alias)


def test_every_storage_keeps_them(
    storage_url: str, tmp_path: Path, tiny_dataset: Dataset, fake: FakeTrainer
) -> None:
    study = end_study(tmp_path, tiny_dataset, storage=storage_url)
    assert run(study, fake) == run(study, fake)
    assert fake.trained == RUNS


def test_what_is_trained_is_not_trained_again(study: EndedStudy, fake: FakeTrainer) -> None:
    first = run(study, fake)
    assert run(study, fake) == first
    assert fake.trained == RUNS
    fake.scores = {n: [*pairs, (33.0, 11.0)] for n, pairs in SCORES.items()}
    more = run(study, fake, seeds=3)
    assert fake.trained[len(RUNS) :] == [f"finalist/{n:04d}/seed-2" for n in range(3)]
    assert more.seeds[:2] == first.seeds
    fewer = run(study, fake)
    assert fewer == first


def test_an_interrupted_call_is_continued(study: EndedStudy, fake: FakeTrainer) -> None:
    fake.stop_after = 2
    for _ in range(2):
        with pytest.raises(InterruptedSearchError, match="run the same command again"):
            run(study, fake)
    assert "finalists" not in study.attributes()
    assert fake.trained == RUNS[:4]
    fake.stop_after = None
    run(study, fake)
    assert fake.trained == RUNS


def test_a_worker_that_died_is_told_and_its_run_tried_again(
    study: EndedStudy, fake: FakeTrainer
) -> None:
    fake.dying = {RUNS[1]}
    with pytest.raises(RefKDError, match=r"finalist/0001/seed-0: the worker process died"):
        run(study, fake)
    fake.dying = set()
    run(study, fake)
    assert fake.trained == [*RUNS, RUNS[1]]


def test_a_finalist_that_fails_on_a_seed_cannot_win(study: EndedStudy, fake: FakeTrainer) -> None:
    fake.failing = {"finalist/0001/seed-1"}
    found = run(study, fake)
    assert found.champions == {"best-id": 0, "best-ood": 2, "best-balanced": 2}
    assert found.finalists[1].failures == ["the loss is not finite"]
    assert found.finalists[1].metrics == {}
    run(study, fake)
    assert fake.trained == RUNS, "it would fail again"
    shown = CliRunner().invoke(
        app, ["finalists", str(study.path), "--top", "1", "--seeds", "2"], env={"COLUMNS": "200"}
    )
    assert shown.exit_code == 0, shown.output
    assert "the loss is not finite" in shown.output


def test_where_all_fail_there_is_no_champion(study: EndedStudy, fake: FakeTrainer) -> None:
    fake.failing = set(RUNS)
    with pytest.raises(RefKDError, match="every finalist failed"):
        run(study, fake)


def test_the_search_must_have_ended(study: EndedStudy, fake: FakeTrainer) -> None:
    study.change(budget={"trials": 9})
    with pytest.raises(RefKDError, match="5 of 9 trials"):
        run(study, fake)
    study.change(budget={"trials": 4}, training={"epochs": EPOCHS + 1})
    with pytest.raises(RefKDError, match="run `refkd search` first"):
        run(study, fake)
    study.change(name="another", training={"epochs": EPOCHS})
    with pytest.raises(NoStudyError, match="has not been begun"):
        run(study, fake)
    study.change(name="")
    with pytest.raises(StudyFileError):
        run(study, fake)
    assert fake.trained == []


def test_the_seed_is_that_of_the_search_also_where_teachers_have_their_own(
    tmp_path: Path, tiny_dataset: Dataset, fake: FakeTrainer
) -> None:
    teachers = {role: {"recipe": role, "seed": 3} for role in ("id", "ood")}
    teachers["ood"]["recipe"] = "refkd_text"
    study = end_study(tmp_path, tiny_dataset, teachers=teachers)
    study.change(seed=7)
    with pytest.raises(RefKDError, match="begun with other values of 'seed'"):
        run(study, fake)
    assert fake.trained == []


def test_nobody_else_may_be_at_work(study: EndedStudy, fake: FakeTrainer) -> None:
    with lease(study.url, "ended", signs=[1.0, 1.0]), pytest.raises(LeaseError):
        run(study, fake)
    assert fake.trained == []


@pytest.mark.parametrize(("top", "seeds"), [(0, 1), (1, 0)])
def test_at_least_one_of_each(study: EndedStudy, top: int, seeds: int) -> None:
    with pytest.raises(RefKDError, match="at least 1"):
        finalists(study.path, top=top, seeds=seeds)


def teacher(study: EndedStudy, role: str) -> Teacher:
    folder = study.file.workspace / "teachers" / study.attributes()["teachers"][role]
    found = find_teacher(folder)
    assert found is not None
    return found


def test_differences_to_a_teacher_hold_it_fixed_and_resample_videos_and_seeds(
    study: EndedStudy, fake: FakeTrainer, tiny_dataset: Dataset
) -> None:
    found = run(study, fake)
    assert set(found.comparison.scores["val_id"]) == {
        *("teacher-id", "teacher-ood", "trial-0001", "trial-0002")
    }
    seeds = fresh_seeds(study.file, 2)
    students = [
        open_student(finalist_folder(study.file.folder, 2, replicate)).backbone(tiny_dataset)
        for replicate in range(2)
    ]
    other = teacher(study, "ood").backbone(tiny_dataset)
    measured = []
    for role in ("val_id", "val_ood"):
        pairs = tiny_dataset.role(role)
        videos = np.asarray(pairs.video_ids)
        scored = [per_pair(evaluate_role(backbone, pairs)) for backbone in (*students, other)]
        own = PairScores(values=dict(zip(seeds, scored[:2], strict=True)), videos=videos)
        fixed = PairScores(values={0: scored[2]}, videos=videos)
        measured.append(own)
        row = found.comparison.differences[role]["trial-0002"]["teacher-ood"]
        assert row == difference_row(own, fixed, seed=study.file.seed)
        gain = np.mean(scored[:2], axis=0) - scored[2]
        assert row["miou"].value == pytest.approx(gain.mean(axis=0)[0])
        assert found.comparison.scores[role]["trial-0002"] == mean_row(own, seed=study.file.seed)
    gap = gap_row(*measured, seed=study.file.seed)["miou"]
    assert found.comparison.gaps["trial-0002"] == gap


def test_the_bill_names_them(study: EndedStudy, fake: FakeTrainer) -> None:
    before = make_bill(open_snapshot(study.path))
    run(study, fake)
    after = make_bill(open_snapshot(study.path))
    (row,) = [row for row in after.rows if row.item == "finalists"]
    assert (row.epochs, row.cpu_seconds) == (6 * EPOCHS, 6.0)
    assert after.total.cpu_seconds == before.total.cpu_seconds + 6.0
    assert [r for r in after.rows if r.item != "finalists"] == before.rows


def test_the_command_shows_means_intervals_and_differences(
    study: EndedStudy, fake: FakeTrainer
) -> None:
    run(study, fake)
    command = ["finalists", str(study.path), "--top", "1", "--seeds", "2"]
    shown = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for text in (
        *("best-balanced, best-id", "33.00 ± 2.83", "Student - teacher", "whole_video", MEANING),
    ):
        assert text in shown.output
    as_json = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(as_json.stdout)["champions"]["best-ood"] == 2
