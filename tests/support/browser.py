"""The system's Chromium for tests that look at pages."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.ports import HOST, reserve_port
from support.shared import start_program, url_answers

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
    address = f"http://{HOST}:{port}"
    steered = (f"--remote-debugging-port={port}", f"--user-data-dir={scratch}", "about:blank")
    command = [CHROMIUM, *OPTIONS, *steered]
    return start_program(folder, command, lambda: url_answers(f"{address}/json/version")), address
