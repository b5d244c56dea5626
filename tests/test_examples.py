"""The scripts under `examples/` run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT


@pytest.mark.system
def test_a_search_from_python_finds_champions_that_answer(tmp_path: Path) -> None:
    script = ROOT / "examples" / "search_from_python.py"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "best-ood is trial" in done.stdout
        assert done.stdout.count("Span(start=") == 3
