"""A Ray of this machine has a private folder, and ends with its driver, whatever ends that."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from refkd.errors import RefKDError
from tune import compat
from tune.ending.exits import ClusterLostError
from tune.execution import local_ray
from tune.execution.local_ray import guarded_folder, private_folder, watched

LONGEST = "/session_2026-11-30_03-43-21_462817_4194304/sockets/plasma_store"
"""The longest path below Ray's folder; a Unix socket has 107 bytes for all of it."""
DRIVER = """
import subprocess, sys, time
from tune.execution.local_ray import guarded_folder

with guarded_folder() as folder:
    log = (folder / "worker.log").open("w")
    opened = subprocess.Popen(["sleep", "600"], stdout=log, start_new_session=True)
    named = subprocess.Popen(["sh", "-c", "sleep 600; true", f"{folder}/x"])
    print(folder, opened.pid, named.pid, flush=True)
    if sys.argv[1] == "fails":
        raise ZeroDivisionError
    if sys.argv[1] == "waits":
        time.sleep(600)
"""


def wait_until_gone(folder: Path, processes: list[int]) -> None:
    while folder.exists() or any(map(lives, processes)):
        time.sleep(0.05)


def lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("end", ["returns", "fails", "killed", "guardian first"])
def test_nothing_outlives_the_driver(end: str, ray_temporary: Path) -> None:
    """Also what is no child of it or bears another name, and where the guardian was killed."""
    how = end if end in ("returns", "fails") else "waits"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    folder, *numbers = driver.stdout.readline().split()
    driver.stdout.close()
    assert Path(folder).parent == ray_temporary
    if how == "waits":
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    if end == "killed":
        os.killpg(driver.pid, signal.SIGKILL)
    elif end == "guardian first":
        children = psutil.Process(driver.pid).children()
        (guardian,) = (p for p in children if "guardian.py" in " ".join(p.cmdline()))
        guardian.kill()
        driver.send_signal(signal.SIGINT)
    driver.wait()
    wait_until_gone(Path(folder), [int(number) for number in numbers])
    assert list(ray_temporary.iterdir()) == []


def test_the_driver_itself_is_spared(ray_temporary: Path) -> None:
    with guarded_folder() as folder:
        held = (folder / "driver.log").open("w", encoding="utf-8")
    held.close()
    assert not folder.exists()


@pytest.mark.parametrize("length", [1, 15, 60, 200])
def test_a_socket_has_room_in_any_temporary_folder(
    length: int, ray_temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ray_temporary / ("x" * length)
    wanted.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(wanted))
    folder = private_folder()
    try:
        assert len(os.fsencode(f"{folder}{LONGEST}")) <= 107
        assert (folder.parent == wanted) is (length <= 15)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        folder.rmdir()


def test_no_room_anywhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(RefKDError, match="set RAY_TMPDIR"):
        private_folder()


@pytest.mark.parametrize("name", compat.RAY_PROCESSES)
def test_the_death_of_rays_own_processes_is_noticed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_ray, "_PERIOD", 0.05)
    program = shutil.copy("/bin/sleep", tmp_path / name)
    begun: list[subprocess.Popen[bytes]] = []

    def work() -> None:
        with watched():
            begun.append(subprocess.Popen([program, "600"]))
            time.sleep(0.5)
            begun[0].kill()
            time.sleep(60)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(ClusterLostError, match=f"Ray's {name} has died"):
            work()
    finally:
        signal.signal(signal.SIGINT, before)
    begun[0].wait()


def test_a_ray_that_ends_with_the_body_has_not_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_ray, "_PERIOD", 0.05)
    program = shutil.copy("/bin/sleep", tmp_path / compat.RAY_PROCESSES[0])
    with watched():
        child = subprocess.Popen([program, "600"])
        other = subprocess.run(["true"], check=True)
        time.sleep(0.3)
    assert other.returncode == 0
    child.kill()
    child.wait()
