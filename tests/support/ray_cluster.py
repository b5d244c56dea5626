"""A Ray cluster of this machine, for all tests of a run that only use it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.ports import HOST, reserve_port


def start_ray(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a head with two CPUs; return its process and its address once it takes connections."""
    port, scratch = reserve_port(), tempfile.mkdtemp(prefix="ray-")  # sockets want a short path
    (folder / "scratch").write_text(scratch, encoding="utf-8")
    log = folder / "ray.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(Path(sys.executable).parent / "ray", "start", "--head", "--block"),
                *(f"--node-ip-address={HOST}", f"--port={port}", "--num-cpus=2"),
                "--include-dashboard=false",
                f"--temp-dir={scratch}",
            ],
            env={
                **os.environ,
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_ENABLE_METRICS_COLLECTION": "0",
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while "Ray runtime started" not in log.read_text("utf-8") or not _takes(port):
        if process.poll() is not None:
            pytest.fail(f"the cluster ended:\n{log.read_text('utf-8')[-2000:]}")
        time.sleep(0.1)
    return process, f"{HOST}:{port}"


def _takes(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
