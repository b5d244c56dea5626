"""Disks of their own for tests that fill them."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, *options: str) -> Iterator[Path]:
    """Mount an empty disk at a folder, with options such as `size=64k`."""
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Callable[[], None]:
    """Take the disk's last byte; return what gives all back."""
    filler = disk / "filler"
    for size in (1 << 16, 1):
        with suppress(OSError), filler.open("ab", 0) as file:
            while True:
                file.write(bytes(size))
    return filler.unlink


def use_up_files(disk: Path) -> Callable[[], None]:
    """Make the last file that the disk can hold; return what removes them."""
    filler = disk / "filler"
    filler.mkdir()
    with suppress(OSError):
        for number in itertools.count():
            (filler / str(number)).touch()
    return lambda: shutil.rmtree(filler)
