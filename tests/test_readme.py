"""The README's tour runs as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.chaos import as_a_user
from support.project import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_output_shown_is_of_a_finished_quickstart() -> None:
    shown = README.split("<!-- quickstart -->")[1].split("<!-- /quickstart -->")[0]
    for words in ("Pareto front", "best-id", "best-ood", "bias", "What it cost", "Where it lies"):
        assert words.lower() in shown.lower()
    for image in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (ROOT / image).stat().st_size > 10_000


@pytest.mark.system
@pytest.mark.timeout(900)
def test_every_command_of_the_tour_succeeds(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    lines = [line for block in TOUR for line in block.splitlines() if line]
    assert len(lines) > 8
    for line in lines:
        done = subprocess.run(
            line,
            shell=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**as_a_user(), "PATH": path},
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if line.startswith("refkd replay"):
            assert "clean" in done.stdout
    assert (tmp_path / "front.png").stat().st_size > 10_000
