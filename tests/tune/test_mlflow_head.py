"""MLflow in the background of a cluster's head: `mlflow/head.sh` as the cluster files call it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.ports import reserve_port

HEAD = Path(__file__).parents[2] / "mlflow" / "head.sh"


@dataclass(frozen=True)
class Head:
    """A home and a shared folder of one head."""

    folder: Path
    port: int

    @property
    def kept(self) -> Path:
        """What belongs to MLflow in the home."""
        return self.folder / "home" / ".mlflow"

    def run(self, word: str) -> str:
        """Start or stop the server; return what is said."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        told = subprocess.run(
            ["sh", HEAD, word],
            env={
                **os.environ,
                "PATH": path,
                "HOME": str(self.folder / "home"),
                "REFKD_WORKSPACE": str(self.folder / "shared"),
                "REFKD_PORT": str(self.port),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    made = Head(tmp_path / "exp?lr=1 #2 %20ü", reserve_port())
    made.kept.mkdir(parents=True)
    yield made
    made.run("stop")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else's that leads a group, as a server does."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_number_left_from_before_a_restart_is_nobody_elses_end(
    head: Head, stranger: subprocess.Popen[bytes]
) -> None:
    (head.kept / f"head-{head.port}.pid").write_text(str(stranger.pid))
    head.run("stop")
    assert stranger.poll() is None


@pytest.mark.system
def test_it_is_started_once_and_stopped(head: Head, stranger: subprocess.Popen[bytes]) -> None:
    (head.kept / f"head-{head.port}.pid").write_text(str(stranger.pid))
    (head.kept / "credentials").write_text("[mlflow]\nmlflow_tracking_username = me\n")
    assert "credentials were another server's" in head.run("start")
    assert head.answers()
    assert "username = me" in (head.kept / "credentials.before").read_text()
    password = (head.folder / "shared" / "admin.password").read_text().strip()
    credentials = head.kept / "credentials"
    assert f"mlflow_tracking_password = {password}" in credentials.read_text()
    assert credentials.stat().st_mode & 0o077 == 0
    assert list(head.folder.parent.iterdir()) == [head.folder]
    assert (head.folder / "shared" / "mlflow.db").is_file()
    assert "runs already" in head.run("start")
    head.run("stop")
    assert stranger.poll() is None
