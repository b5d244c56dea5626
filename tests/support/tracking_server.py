"""MLflow's server for tests: started as people start it, killed as a crash would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.ports import HOST, reserve_port
from support.shared import made_once

ROOT = Path(__file__).parents[2]


def make_empty_store() -> Path:
    """Return an SQLite store with its tables, which nobody changes: to make one takes seconds."""

    def make(folder: Path) -> None:
        code = f"import mlflow; mlflow.MlflowClient('sqlite:///{folder}/mlflow.db')"
        subprocess.run(
            [sys.executable, "-c", f"{code}.search_experiments()"],
            check=True,
            capture_output=True,
            cwd=folder,
        )

    return made_once("empty-store", make) / "mlflow.db"


class Server:
    """MLflow's server as `mlflow/server.sh` starts it; it can be killed and started again."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.port = reserve_port()
        self.uri = f"http://{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it answers; return the leader of its processes."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        log = self.workspace / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["sh", str(ROOT / "mlflow" / "server.sh")],
                env={
                    **os.environ,
                    "PATH": path,
                    "REFKD_WORKSPACE": str(self.workspace),
                    "REFKD_PORT": str(self.port),
                },
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while not self._answers():
            if self._process.poll() is not None:
                pytest.fail(f"the server ended:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        return self._process

    def kill(self) -> None:
        """End it and its workers at once, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def uses(self, pid: int) -> bool:
        """Return whether a process is one of the server's."""
        return self._process is not None and os.getpgid(pid) == self._process.pid

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False
