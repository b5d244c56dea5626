"""`refkd evaluate --final`: what it opens and when, what it refuses, what it shows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.ended_study import EndedStudy, end_study
from support.sealed_watch import opened_by, watched
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.data.sealed import open_sealed
from refkd.evaluation.comparison import PairScores, mean_row, per_pair
from refkd.training.export import open_student
from refkd.training.validation import evaluate_role
from tune import FinalReport, evaluate_final
from tune.audit.examine import examine, verify_results
from tune.cli import app
from tune.ending.exits import UnfinishedError
from tune.study.folders import seed_folder, trial_folder
from tune.study.ledger import LedgerError, read_looks
from tune.study.snapshot import open_snapshot
from tune.study.storage import StorageError

KILLED = """
import os, signal, sys
import tune.results.sealed_roles as roles
import tune.results.sealed_scores as scores
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
module, name = sys.argv[2].rsplit(".", 1)
setattr({"roles": roles, "scores": scores}[module], name, kill)
scores.evaluate_final(sys.argv[1], **({"again": True, "reason": "why"} if sys.argv[3:] else {}))
"""


@pytest.fixture
def dataset(tiny_dataset: Dataset, tmp_path: Path) -> Dataset:
    """A copy that a test may damage."""
    return Dataset.open(shutil.copytree(tiny_dataset.path, tmp_path / "dataset"))


@pytest.fixture
def study(tmp_path: Path, dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, dataset, replicates={"seeds": 2})


def final(study: EndedStudy, look: int) -> Path:
    return study.file.folder / f"final-{look}.json"


def evaluate(study: EndedStudy, *options: str) -> str:
    command = ["evaluate", "--final", str(study.path), *options]
    shown = CliRunner().invoke(app, command, env={"COLUMNS": "200"}, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_a_look_is_in_the_ledger_with_all_it_is_about(study: EndedStudy, dataset: Dataset) -> None:
    report = evaluate_final(study.path)
    (look,) = read_looks(study.file.folder)
    assert report.looks == [look]
    assert (look.look, look.study, look.reason) == (1, "ended", None)
    assert look.user
    assert look.host
    assert look.dataset == dataset.fingerprint
    assert look.sealed == {
        name: dataset.manifest.files[name].sha256
        for name in ("sealed/moments.parquet", "sealed/features.h5")
    }
    assert look.champions["best-id"].trial == 0
    assert look.champions["best-ood"].trial == 2
    for champion in look.champions.values():
        assert len(champion.students) == 2
        for name, sha256 in champion.students.items():
            assert open_student(study.file.folder / name).record.sha256 == sha256
    teachers = study.attributes()["teachers"]
    assert set(look.teachers) == set(teachers)
    assert FinalReport.model_validate_json(final(study, 1).read_text()) == report
    assert examine(study.path).findings == []


def test_scores_are_means_over_the_seeds_with_intervals_over_videos_and_seeds(
    study: EndedStudy, dataset: Dataset
) -> None:
    report = evaluate_final(study.path)
    assert not report.from_finalists
    assert set(report.comparison.scores) == {"test_id", "test_ood"}
    means = {}
    for role in ("test_id", "test_ood"):
        pairs = open_sealed(dataset.path, role)
        folders = [seed_folder(trial_folder(study.file.folder, 2), seed) for seed in range(2)]
        scores = [evaluate_role(open_student(f).backbone(dataset), pairs) for f in folders]
        row = report.comparison.scores[role]["trial-0002"]
        assert row["miou"].value == pytest.approx(np.mean([s.miou for s in scores]))
        assert row["miou"].sd == pytest.approx(np.std([s.miou for s in scores], ddof=1))
        for threshold in (0.3, 0.5, 0.7):
            value = np.mean([s.r1[threshold] for s in scores])
            assert row[f"r1_iou{threshold}"].value == pytest.approx(value)
        assert row["dr1_iou0.5"].value == pytest.approx(np.mean([s.dr1[0.5] for s in scores]))
        trained = dict(zip(study.file.seeds(), scores, strict=True))
        system = PairScores(
            values={seed: per_pair(found) for seed, found in trained.items()},
            videos=np.asarray(pairs.video_ids),
        )
        assert row == mean_row(system, seed=study.file.seed)
        assert set(report.comparison.differences[role]) == {"trial-0000", "trial-0002"}
        assert "whole_video" in report.comparison.floors[role]
        means[role] = row["miou"].value
    gap = report.comparison.gaps["trial-0002"]
    assert gap.value == pytest.approx(means["test_id"] - means["test_ood"])
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low < gap.value < gap.high


def test_a_second_look_is_refused_and_opens_nothing(study: EndedStudy, dataset: Dataset) -> None:
    evaluate_final(study.path)
    with watched(dataset.path / "sealed") as opened:
        for again, reason in ((False, None), (True, None), (False, "why"), (True, " ")):
            with pytest.raises(LedgerError, match="was looked at once"):
                evaluate_final(study.path, again=again, reason=reason)
    assert opened == []
    assert len(read_looks(study.file.folder)) == 1
    assert not final(study, 2).exists()


def test_every_reason_is_shown_for_ever(study: EndedStudy) -> None:
    assert "this is look 1\n" in evaluate(study)
    second = evaluate(study, "--again", "--reason", "the caption was wrong")
    assert "this is look 2: the caption was wrong" in second
    third = evaluate(study, "--again", "--reason", "a reviewer asked")
    assert "look 2: the caption was wrong" in third
    assert "this is look 3: a reviewer asked" in third
    told = json.loads(evaluate(study, "--again", "--reason", "as JSON", "--json"))
    assert [look["reason"] for look in told["looks"]] == [
        *(None, "the caption was wrong", "a reviewer asked", "as JSON")
    ]
    assert all(final(study, look).is_file() for look in (1, 2, 3, 4))


def test_looking_again_shows_the_same_numbers(study: EndedStudy) -> None:
    first = evaluate_final(study.path)
    assert evaluate_final(study.path, again=True, reason="to see").comparison == first.comparison


def test_without_final_nothing_is_evaluated(study: EndedStudy, dataset: Dataset) -> None:
    with watched(dataset.path / "sealed") as opened:
        done = CliRunner().invoke(app, ["evaluate", str(study.path)])
    assert done.exit_code != 0
    assert "say --final" in str(done.exception)
    assert opened == []
    assert read_looks(study.file.folder) == []


def killed(study: EndedStudy, place: str, *again: str) -> None:
    """Kill an evaluation; nothing of what is sealed lies where nobody would look for it then."""
    temporary = study.path.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(study.path), place, *again],
        capture_output=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        cwd=study.path.parent,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(temporary.glob("refkd*")) == []


@pytest.mark.parametrize(
    "place",
    ["scores.write_looks", "roles.open_sealed", "scores.compare", "scores.LookDone"],
)
def test_a_look_that_was_killed_before_its_results_were_stored_is_taken_again_as_the_same(
    study: EndedStudy, place: str
) -> None:
    killed(study, place)
    seen = open_snapshot(study.path)
    assert (seen.looks, seen.final, seen.state) == ([], None, "search ended")
    assert seen.look_begun is not None
    assert seen.look_begun.look == 1
    rows = [look.state for look in read_looks(study.file.folder)]
    assert rows == ([] if place == "scores.write_looks" else ["begun"])
    told = {row.check: row.what for row in examine(study.path).findings}
    assert told["ledger"] == "look 1 was cut off before anything of it was shown"
    with pytest.raises(LedgerError, match="not been looked at yet"):
        evaluate_final(study.path, again=True, reason="it was killed")
    killed(study, place)
    told = {row.check: row.what for row in examine(study.path).findings}
    assert told["ledger"] == "look 1 was cut off before anything of it was shown", "killed twice"
    report = evaluate_final(study.path)
    assert (report.look.look, report.look.reason) == (1, None)
    assert [(row.look, row.state) for row in read_looks(study.file.folder)] == [(1, "done")]
    assert open_snapshot(study.path).final == report
    assert examine(study.path).findings == []
    with pytest.raises(LedgerError, match="was looked at once"):
        evaluate_final(study.path)


def test_results_that_were_stored_and_not_shown_are_shown_without_another_look(
    study: EndedStudy, dataset: Dataset
) -> None:
    killed(study, "scores.write_json")
    assert not final(study, 1).exists()
    with watched(dataset.path / "sealed") as opened:
        report = evaluate_final(study.path)
    assert opened == []
    assert FinalReport.model_validate_json(final(study, 1).read_text()) == report
    assert [look.look for look in report.looks] == [1]
    with pytest.raises(LedgerError, match="was looked at once"):
        evaluate_final(study.path)


def test_a_look_whose_storage_fails_is_left_for_the_same_command(
    study: EndedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StorageError("storage sqlite:///study.db: disk is full; free some space")

    with monkeypatch.context() as patch:
        patch.setattr("tune.results.sealed_scores.compare", fails)
        with pytest.raises(UnfinishedError, match="free some space, then run the same command"):
            evaluate_final(study.path)
    assert evaluate_final(study.path).look.look == 1


def test_a_further_look_that_was_killed_keeps_its_reason(study: EndedStudy) -> None:
    first = evaluate_final(study.path)
    killed(study, "roles.open_sealed", "again")
    assert open_snapshot(study.path).final == first
    verify_results(open_snapshot(study.path))  # the first look's are shown meanwhile
    report = evaluate_final(study.path)
    assert [look.title for look in report.looks] == ["this is look 1", "this is look 2: why"]


@pytest.mark.system
def test_looking_at_a_study_opens_nothing_sealed_and_the_final_look_does(
    study: EndedStudy,
) -> None:
    for command in (("status",), ("best",), ("bill",), ("doctor",)):
        assert opened_by(study, *command) == ([], [])
    opened, seen = opened_by(study, "evaluate", "--final")
    assert {Path(path).name for path in opened} >= {"moments.parquet", "features.h5"}
    assert set(seen) == {"moments.parquet", "features.h5"}
