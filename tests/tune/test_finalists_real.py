"""A search and its finalists without the sealed folder, killed on the way, and the one look."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.ended_study import EndedStudy
from support.sealed_watch import opened_by

from refkd.data.dataset import Dataset
from refkd.training.student import student_trainer
from tune import FinalReport
from tune.audit.examine import examine
from tune.config.study_file import load_study_file
from tune.execution.study_jobs import open_ended_search
from tune.results.finalists import fresh_seeds, read_results
from tune.study.outcomes import SeedResult

EPOCHS = 4
COMMAND = ("finalists", "--top", "1", "--seeds", "2")


@pytest.mark.system
def test_nothing_sealed_is_needed_or_opened_before_the_final_look(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    dataset, away = tmp_path / "dataset", tmp_path / "away"
    shutil.copytree(tiny_dataset.path, dataset)
    study = write_study(tmp_path, dataset)
    assert opened_by(study, "search") == ([], [])
    (dataset / "sealed").rename(away)
    study.change(budget={"trials": 3})
    run(study, "search")
    kill_on_the_way(study)
    before = stored(study)
    assert "finalists" not in study.attributes()

    away.rename(dataset / "sealed")
    assert opened_by(study, *COMMAND) == ([], [])
    results = stored(study)
    assert {key: results[key] for key in before} == before, "a finished seed was trained again"
    assert {r.seed for r in results.values()} == set(fresh_seeds(study.file, 2))
    assert not list(study.file.folder.glob("finalists/**/checkpoints"))
    for key, result in results.items():
        assert_is_what_training_gives(study, key[0], result)

    opened, seen = opened_by(study, "evaluate", "--final")
    assert {Path(name).name for name in opened} >= {"moments.parquet", "features.h5"}
    assert set(seen) == {"moments.parquet", "features.h5"}
    report = FinalReport.model_validate_json((study.file.folder / "final-1.json").read_text())
    assert report.from_finalists
    assert examine(study.path).findings == []


def write_study(folder: Path, dataset: Path) -> EndedStudy:
    path = folder / "study.yaml"
    settings = {
        "name": "real",
        "dataset": str(dataset),
        "workspace": str(folder / "runs"),
        "backbone": {"hidden": 8, "heads": 2, "char_dim": 4},
        "training": {"epochs": EPOCHS, "learning_rate": 3e-3},
        "distill": {"warmup_epochs": 1},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0], "log": True}},
        "budget": {"trials": 2},
        "pruning": {"name": "none"},
        "tracking": {"enabled": False},
        "workers": 1,
    }
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    file = load_study_file(path)
    return EndedStudy(path=path, file=file, url=f"sqlite:///{file.folder / 'study.db'}")


def run(study: EndedStudy, *command: str) -> None:
    """Run a command to its end."""
    code = "from tune.cli import main; main()"
    words = [sys.executable, "-c", code, *command, str(study.path)]
    done = subprocess.run(words, cwd=study.path.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def kill_on_the_way(study: EndedStudy) -> None:
    """Kill the finalists' driver and workers while a student of the second seed is trained."""
    code = "from tune.cli import main; main()"
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *COMMAND, str(study.path)],
        cwd=study.path.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(study.file.folder.glob("finalists/*/seed-1/checkpoints/*.json")):
        assert driver.poll() is None, "it ended too early"
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()


def stored(study: EndedStudy) -> dict[tuple[int, int], SeedResult]:
    return read_results(study.attributes())


def assert_is_what_training_gives(study: EndedStudy, number: int, result: SeedResult) -> None:
    """Train a student in this process, without a break, and compare what it keeps."""
    with open_ended_search(study.path) as search:
        values = next(v.values for v in search.study.views() if v.number == number)
        trainer = student_trainer(
            search.file.student_config(values, seed=result.seed),
            search.dataset,
            search.teachers,
            search.jobs.place.knowledge,
        )
        *_, last = trainer.epochs()
    assert last.epoch == result.epochs == EPOCHS
    assert steady(result.metrics) == steady(trainer.kept_result().metrics)


def steady(metrics: dict[str, float]) -> dict[str, float]:
    """Return all metrics but costs, which differ from run to run."""
    return {name: value for name, value in metrics.items() if not name.startswith("cost/")}
