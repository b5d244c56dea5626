"""What is made once in a run of the tests, by whichever process needs it first, for all of them.

A run is one call of pytest, with all its worker processes. What is made lies in one folder of the
run; nobody changes it: a test opens it read-only, or copies it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest
from filelock import FileLock

_run: list[pytest.Config] = []
_programs: list[subprocess.Popen[bytes]] = []


def begin(config: pytest.Config) -> None:
    """Say which run this process belongs to."""
    _run[:] = [config]


def shared_folder() -> Path:
    """Return the folder of the run: the same for all its processes."""
    (config,) = _run
    own = Path(config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
    folder = (own.parent if hasattr(config, "workerinput") else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of a name, which `make` fills at the first call of any process of the run.

    `make` gets the folder itself, so that absolute paths may stand in what it writes. What it left
    when it failed is removed, and the next caller tries again.
    """
    place, done = shared_folder() / name, shared_folder() / f"{name}.made"
    with FileLock(f"{place}.lock"):
        if not done.exists():
            _end(place / "pid")  # of a program that somebody began and did not see answer
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            done.touch()
    return place


def started_once(name: str, start: Callable[[Path], tuple[subprocess.Popen[bytes], str]]) -> str:
    """Return the address of a program that the first caller starts, for all processes of the run.

    `start` returns, once the program answers, what `start_program` returned, and its address.
    `end_programs` ends it with the run.
    """

    def make(place: Path) -> None:
        process, address = start(place)
        _programs.append(process)  # Python warns of a process that nobody holds any more
        (place / "address").write_text(address, encoding="utf-8")

    return (made_once(name, make) / "address").read_text(encoding="utf-8")


def start_program(
    folder: Path,
    command: Sequence[str | Path],
    answers: Callable[[], bool],
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[bytes]:
    """Start a program as the leader of a group and wait until it answers.

    Its number stands in `folder / "pid"` from the start, and what it prints in `program.log`.
    """
    log = folder / "program.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (folder / "pid").write_text(str(process.pid), encoding="utf-8")
    while not answers():
        if process.poll() is not None:
            pytest.fail(f"{command[0]} ended:\n{log.read_text('utf-8', 'replace')[-2000:]}")
        time.sleep(0.1)
    return process


def url_answers(address: str) -> bool:
    """Return whether anything answers at an address."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def members(group: int) -> list[psutil.Process]:
    """Return the processes of a group that live."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group:
                found.append(process)
    return found


def end_programs() -> None:
    """End whatever was started for the run, and remove the folders that it names `scratch`."""
    for pid in shared_folder().glob("*/pid"):
        _end(pid)
    for scratch in shared_folder().glob("*/scratch"):
        shutil.rmtree(scratch.read_text(encoding="utf-8"), ignore_errors=True)


def _end(pid: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.killpg(int(pid.read_text(encoding="utf-8")), signal.SIGKILL)
