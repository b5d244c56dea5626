"""Ends what is left of a Ray that a driver started, however the driver ended, kill -9 included.

Run as a program beside the driver: `python -P guardian.py FOLDER`, with a pipe as its standard
input. Once the pipe has closed, since the driver closed it or has died, every process of that Ray
is killed and its folder removed. It imports nothing of `tune`, so that it starts at once.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_PATIENCE = 20.0
"""Seconds in which new processes are still looked for."""


def end_ray(folder: Path, *, spared: int) -> None:
    """Kill the processes of the Ray whose private folder this is, and remove the folder.

    They are known by what they have open there, or by their command line: their titles, parents
    and environments change while they run. The driver has files open there too and is `spared`.
    """
    until = time.monotonic() + _PATIENCE
    while (members := list(_members(folder, {spared, os.getpid()}))) and time.monotonic() < until:
        for process in members:
            try:
                process.kill()
            except psutil.NoSuchProcess:  # ended by itself
                continue
        psutil.wait_procs(members, timeout=1)
    shutil.rmtree(folder, ignore_errors=True)


def _members(folder: Path, spared: set[int]) -> Iterator[psutil.Process]:
    inside, mine = f"{folder}/", psutil.Process().uids()
    for process in psutil.process_iter():
        try:
            if process.pid in spared or process.uids() != mine:
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            opened = (file.path for file in process.open_files())
            if any(inside in path for path in (*process.cmdline(), *opened)):
                yield process
        except psutil.Error:  # gone meanwhile, or another user's
            continue


if __name__ == "__main__":
    driver = os.getppid()
    sys.stdin.buffer.read()
    end_ray(Path(sys.argv[1]), spared=driver)
