"""A real search whose OOD teacher is a file: the same search as with the teacher it is made of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.answers import rows_of_teacher, write
from support.chaos import SETTINGS, Workspace, assert_sound, kill_all, outcome, wait_for
from support.chaos_hooks import Epochs

from refkd.data.dataset import Dataset
from refkd.files import sha256_file
from refkd.training.teacher import Teacher, find_teacher
from tune.config.study_file import load_study_file
from tune.study.snapshot import open_snapshot
from tune.tracking.target import registered_name

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
TRIALS, EPOCHS = 3, 2
SHORT: dict[str, Any] = {
    "budget": {"trials": TRIALS},
    "training": {"epochs": EPOCHS, "batch_size": 64},
    "pruning": {"name": "none"},
}


def exported(workspace: Workspace) -> Path:
    """Write what the OOD teacher of a workspace says of every pair."""
    file, dataset = load_study_file(workspace.study), Dataset.open(workspace.dataset)
    folder = workspace.runs / "teachers" / file.teacher_config("ood").address(dataset)
    teacher = find_teacher(folder)
    assert isinstance(teacher, Teacher)
    return write(workspace.folder / "ood.jsonl", rows_of_teacher(teacher, dataset))


def last_epochs(log: Path) -> int:
    """Return how many trials have begun their last epoch."""
    lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
    return sum(line.split()[1] == str(EPOCHS) for line in lines)


def test_a_search_with_an_exported_teacher_is_the_search_with_that_teacher(
    workspace: Workspace,
) -> None:
    """Also when it is killed with all its processes, and continued to the one sealed look."""
    trained = Workspace(workspace.folder.with_name("trained"), workspace.dataset)
    shutil.copytree(workspace.folder, trained.folder)
    trained.write(**SHORT)
    assert trained.search() == 0, trained.said()

    answers, log = exported(trained), workspace.folder / "epochs"
    teachers = {"id": SETTINGS["teachers"]["id"], "ood": {"from": str(answers)}}
    workspace.hooks.append(Epochs(path=str(log), seconds=600, first=EPOCHS))
    workspace.write(**SHORT, teachers=teachers)
    with workspace.driver() as driver:
        wait_for(lambda: last_epochs(log) == 1, driver)
        kill_all(driver)
    workspace.hooks.clear()
    assert workspace.search() == 0, workspace.said()

    assert outcome(workspace.views()) == outcome(trained.views())
    assert workspace.champions() == trained.champions()
    mine, theirs = (open_snapshot(one.study).summary for one in (workspace, trained))
    for metric in ("val_id/miou", "val_ood/miou", "val_ood/map_avg"):
        assert mine.teachers["ood"][metric] == theirs.teachers["ood"][metric]
    assert mine.intervals == theirs.intervals
    assert "teacher-ood" in theirs.probes
    assert "teacher-ood" not in mine.probes
    assert_sound(workspace, trials=TRIALS)
    assert workspace.refkd("replay", "--trial", "0").returncode == 0
    assert_shown(
        workspace, f"imported from ood.jsonl (logits, sha256 {sha256_file(answers)[:16]})"
    )
    assert_ends(workspace)


def assert_shown(workspace: Workspace, origin: str) -> None:
    """Expect where the teacher comes from in the report, in MLflow and on the card."""
    assert workspace.refkd("report").returncode == 0
    (page,) = (workspace.runs / "studies" / "quick").glob("report/*.html")
    text = page.read_text(encoding="utf-8")
    assert origin in text
    assert "largest gain" in text, "the teacher answers no query"
    client, runs = workspace.mlflow()
    tags = {run.data.tags["refkd.role"]: run.data.tags for run in runs}
    assert tags["teacher-ood"]["refkd.imported"] == origin
    assert "OOD teacher imported from ood.jsonl" in tags["student"]["refkd.marks"]
    name = registered_name("quick")
    cards = [found.description for found in client.search_model_versions(f"name = '{name}'")]
    assert cards
    assert all(f"OOD teacher: {origin}." in card for card in cards)
    assert "OOD teacher imported from ood.jsonl" in workspace.refkd("best").stdout.replace(
        "\n", " "
    )


def assert_ends(workspace: Workspace) -> None:
    """Expect finalists beside both teachers, and a sealed look beside the one with a network."""
    for command in (("finalists", "--top", "1", "--seeds", "1"), ("evaluate", "--final")):
        done = workspace.refkd(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    study = open_snapshot(workspace.study)
    assert study.finalists is not None
    assert study.final is not None
    both = {"teacher-id", "teacher-ood"}
    assert both <= study.finalists.comparison.scores["val_ood"].keys()
    assert both & study.final.comparison.scores["test_ood"].keys() == {"teacher-id"}
    assert set(study.final.look.teachers) == {"id", "ood"}
    assert workspace.refkd("report").returncode == 0
    assert workspace.refkd("doctor").returncode == 0
