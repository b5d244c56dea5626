"""A search by a user whom the machine does not know, whose home is not there, in plain ASCII."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.chaos import Workspace
from support.project import ROOT

pytestmark = pytest.mark.system
USER = 54321
AS_NOBODY = [
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),  # to read the interpreter
]
CODE = "import sys; from tune.cli import main; sys.argv[0] = 'refkd'; main()"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach: pytest's own are root's alone."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_search_ends_and_is_shown(workspace: Workspace, open_folder: Path) -> None:
    shutil.copytree(workspace.dataset, open_folder / "dataset")
    shutil.copytree(workspace.folder, open_folder / "workspace")
    workspace = Workspace(open_folder / "workspace", open_folder / "dataset")
    workspace.write(budget={"trials": 2}, training={"epochs": 2, "batch_size": 64})
    for path in (open_folder, *open_folder.rglob("*")):
        os.chown(path, USER, USER)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
        **{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    }

    def refkd(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*AS_NOBODY, sys.executable, "-c", CODE, command, str(workspace.study)],
            env=environment,
            cwd=workspace.folder,
            capture_output=True,
            text=True,
            umask=0o077,
        )

    for command in ("search", "status", "best", "doctor", "replay", "report"):
        done = refkd(command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not Path("/nonexistent").exists()
