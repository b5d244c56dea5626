"""The system's Chromium for tests that look at pages."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.ports import HOST, reserve_port

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


def start_chromium(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a Chromium without a window; return its process and the address that steers it."""
    assert CHROMIUM is not None
    port, scratch = reserve_port(), tempfile.mkdtemp(prefix="chromium-")
    (folder / "scratch").write_text(scratch, encoding="utf-8")
    with (folder / "chromium.log").open("wb") as output:
        process = subprocess.Popen(
            [
                *(CHROMIUM, *OPTIONS, f"--remote-debugging-port={port}"),
                *(f"--user-data-dir={scratch}", "about:blank"),
            ],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    address = f"http://{HOST}:{port}"
    while not _answers(f"{address}/json/version"):
        if process.poll() is not None:
            pytest.fail(f"chromium ended:\n{(folder / 'chromium.log').read_text('utf-8')[-2000:]}")
        time.sleep(0.1)
    return process, address


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
