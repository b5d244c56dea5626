"""Own videos, and somebody else's teacher, go the whole way by the documented commands."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from support.chaos import as_a_user
from support.project import ROOT
from support.videos import COLOURS, write_clip, write_video

GUIDE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
(WAY,) = re.findall(r"^## Your own videos\n.*?^```sh\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
SMALL = {
    "name": "mine",
    "backbone": {"hidden": 16, "heads": 2, "char_dim": 4},
    "training": {"epochs": 2, "learning_rate": 3.0e-3},
    "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
    "start_from": [],
    "distill": {"warmup_epochs": 1},
    "budget": {"trials": 3},
    "pruning": {"name": "none"},
    "workers": 1,
}


def own_videos(folder: Path) -> None:
    """Write 40 videos of three colours, of which each is there for seconds, and their moments."""
    chance = random.Random(0)
    with (folder / "moments.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["video", "query", "start", "end"])
        table.writeheader()
        for number in range(40):
            colours = ["red", "green", "blue"]
            if number % 5 == 4:  # places that are rare in the others
                colours.reverse()
            scenes = [(colour, float(chance.randint(1, 4))) for colour in colours]
            write_video(folder / "videos" / f"clip{number:02d}.mp4", scenes, rate=4)
            begins = 0.0
            for colour, seconds in scenes:
                moment = {"start": begins, "end": begins + seconds}
                said = f"the {colour} picture is shown"
                table.writerow({"video": f"clip{number:02d}", "query": said, **moment})
                begins += seconds
    words = ["the", "picture", "is", "shown", *COLOURS]
    vectors = "".join(
        f"{word} {' '.join(f'{chance.gauss(0, 1):.4f}' for _ in range(8))}\n" for word in words
    )
    (folder / "glove.840B.300d.txt").write_text(vectors, encoding="utf-8")
    write_video(folder / "new.mp4", [("green", 3.0), ("red", 4.0)], rate=4)


def answers_of(dataset: Path, path: Path) -> None:
    """Write what somebody else's model would say of every pair: its moment, a little too early."""
    with path.open("w", encoding="utf-8") as file:
        for row in pq.read_table(dataset / "moments.parquet").to_pylist():
            spans = [[max(0.0, row["start"] - 0.3), row["end"], 1.0]]
            file.write(json.dumps({"pair_id": row["pair_id"], "spans": spans}) + "\n")


@pytest.mark.system
@pytest.mark.timeout(900)
def test_the_commands_lead_from_videos_to_an_answer(tmp_path: Path) -> None:
    own_videos(tmp_path)
    clip = write_clip(tmp_path / "clip")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    asked = WAY.replace("openai/clip-vit-base-patch32", str(clip))
    asked = asked.replace("a person opens the door", "the red picture is shown")
    *commands, predict = asked.replace("\\\n", "").splitlines()

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line,
            shell=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**as_a_user(), "PATH": path},
            check=False,
        )

    for line in commands:
        done = run(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if line.startswith("refkd init"):
            study = yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))
            answers_of(tmp_path / "datasets" / "mine", tmp_path / "answers.jsonl")
            teachers = {**study["teachers"], "ood": {"from": "answers.jsonl"}}
            study |= {**SMALL, "dataset": "datasets/mine", "teachers": teachers}
            (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    answers = run(f"{predict} --json").stdout
    found = json.loads(answers)
    assert found["duration"] == pytest.approx(7.0, abs=0.1)
    assert found["clips"] == 7
    assert 0 <= found["answers"][0]["spans"][0]["start"] < 7

    clip.rename(tmp_path / "moved")
    lost = run(predict)
    assert lost.returncode == 2
    assert "clip: no such folder" in lost.stderr
    other = run(f"{predict} --encoder {write_clip(tmp_path / 'other', seed=1)}")
    assert "other: has other weights" in other.stderr
    assert run(f"{predict} --json --encoder moved").stdout == answers
