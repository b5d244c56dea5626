"""A real MLflow server with an empty store, for the time of a benchmark."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "mlflow" / "server.sh"


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Yield the address of a server that keeps all in `folder`."""
    port = free_port()
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "REFKD_WORKSPACE": str(folder),
        "REFKD_PORT": str(port),
    }
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            ["sh", str(SCRIPT)],
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        while not _answers(address):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: see {folder / 'server.log'}")
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def free_port() -> int:
    """Return a port of loopback at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
