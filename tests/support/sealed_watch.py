"""Two witnesses of who opens what is sealed: Python's audit hook, and the system's inotify."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.ended_study import EndedStudy
from support.shared import shared_folder

IN_OPEN = 0x20
AUDITED = """
import json, os, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from tune.cli import main
sys.argv = ["refkd", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("OPENED" + json.dumps([path for path in opened if "sealed" in path.split(os.sep)]))
"""


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Collect the files that any process opens in a folder, whatever library opens them."""
    assert not folder.is_relative_to(shared_folder()), "other tests open what all share"
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(folder), IN_OPEN) < 0:
        pytest.skip(f"inotify does not watch {folder}: {os.strerror(ctypes.get_errno())}")
    opened: list[str] = []
    try:
        yield opened
        while True:
            try:
                events = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                break
            opened += _names(events)
    finally:
        os.close(descriptor)


def _names(events: bytes) -> Iterator[str]:
    """Yield the file of each event; the folder itself has no name."""
    place = 0
    while place < len(events):
        *_, length = struct.unpack_from("iIII", events, place)
        name = events[place + 16 : place + 16 + length].rstrip(b"\0").decode()
        if name:
            yield name
        place += 16 + length


def opened_by(study: EndedStudy, *command: str) -> tuple[list[str], list[str]]:
    """Run a command; return what Python opened below `sealed`, and what the system saw."""
    with watched(study.file.dataset / "sealed") as seen:
        done = subprocess.run(
            [sys.executable, "-c", AUDITED, json.dumps([*command, str(study.path)])],
            capture_output=True,
            text=True,
            cwd=study.path.parent,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("OPENED"))
    return json.loads(line.removeprefix("OPENED")), seen
