"""A Ray cluster of this machine, for all tests of a run that only use it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from support.ports import HOST, reserve_port
from support.shared import start_program


def start_ray(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a head with two CPUs; return its process and its address once it takes connections."""
    port, scratch = reserve_port(), tempfile.mkdtemp(prefix="ray-")  # sockets want a short path
    (folder / "scratch").write_text(scratch, encoding="utf-8")
    command = [
        *(Path(sys.executable).parent / "ray", "start", "--head", "--block"),
        *(f"--node-ip-address={HOST}", f"--port={port}", f"--temp-dir={scratch}"),
        f"--dashboard-agent-listen-port={reserve_port()}",
        *("--num-cpus=2", "--include-dashboard=false"),
    ]

    def answers() -> bool:
        with socket.socket() as probe:
            takes = probe.connect_ex((HOST, port)) == 0
        return takes and "Ray runtime started" in (folder / "program.log").read_text("utf-8")

    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_METRICS_COLLECTION": "0"}
    return start_program(folder, command, answers, environment=quiet), f"{HOST}:{port}"
