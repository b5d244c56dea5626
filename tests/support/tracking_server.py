"""MLflow's server for tests: started as people start it, killed as a crash would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from support.ports import HOST, reserve_port
from support.shared import made_once, members, start_program, url_answers

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
        self._process = start_program(
            self.workspace,
            ["sh", ROOT / "mlflow" / "server.sh"],
            lambda: url_answers(f"{self.uri}/health"),
            environment={
                "PATH": path,
                "REFKD_WORKSPACE": str(self.workspace),
                "REFKD_PORT": str(self.port),
            },
        )
        return self._process

    def kill(self) -> None:
        """End it and its workers at once, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def processes(self) -> list[psutil.Process]:
        """Return the server's processes."""
        return [] if self._process is None else members(self._process.pid)
