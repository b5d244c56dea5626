"""A search neither needs nor opens what is sealed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refkd.data.dataset import Dataset

SCRIPT = """
import json, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from tune import StudyFile, search
study = StudyFile.model_validate(json.loads(sys.argv[1]))
summary = search(study)
trials = [t.model_dump(mode="json") for t in summary.trials]
sealed = [path for path in opened if "sealed" in path.split("/")]
print("RESULT" + json.dumps({"trials": trials, "front": summary.front, "sealed": sealed}))
"""


def search(dataset: Path, workspace: Path) -> dict[str, Any]:
    study = {
        "name": "quick",
        "dataset": str(dataset),
        "workspace": str(workspace),
        "backbone": {"hidden": 8, "heads": 2, "char_dim": 4},
        "training": {"epochs": 2, "learning_rate": 3e-3},
        "distill": {"warmup_epochs": 1},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0], "log": True}},
        "budget": {"trials": 3},
        "pruning": {"min_epochs": 1},
        "workers": 1,
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(study)],
        capture_output=True,
        text=True,
        cwd=workspace.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
    return result


@pytest.mark.slow
def test_moving_the_sealed_folder_away_changes_nothing(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    open_part = tmp_path / "dataset"
    shutil.copytree(tiny_dataset.path, open_part, ignore=shutil.ignore_patterns("sealed"))
    assert (tiny_dataset.path / "sealed").is_dir()
    whole = search(tiny_dataset.path, tmp_path / "whole")
    without = search(open_part, tmp_path / "without")
    assert whole["sealed"] == []
    assert whole == without
    assert len(whole["trials"]) == 3
