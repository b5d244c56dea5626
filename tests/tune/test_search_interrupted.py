"""Signals in a search: once to stop cleanly, twice at once, and the next launch goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from support.chaos import Workspace, assert_sound, wait_for, wait_for_end
from support.chaos_hooks import Epochs

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
STOPPED = 130
TRIALS = 2


@pytest.fixture
def slow(workspace: Workspace) -> Workspace:
    """A study whose epochs take long enough to be interrupted."""
    workspace.write(budget={"trials": TRIALS}, pruning={"name": "none"}, workers=2)
    workspace.hooks.append(Epochs(path=str(workspace.folder / "epochs"), seconds=0.5))
    return workspace


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Do what a terminal does with Ctrl-C: everybody in the group gets it."""
    os.killpg(process.pid, signal.SIGINT)


def begun(workspace: Workspace) -> int:
    """Return the epochs of students that have begun."""
    log = workspace.folder / "epochs"
    return len(log.read_text(encoding="ascii").splitlines()) if log.exists() else 0


def test_ctrl_c_stops_once_cleanly_and_twice_at_once(slow: Workspace) -> None:
    with slow.driver() as driver:
        wait_for(lambda: begun(slow) >= 3, driver)
        interrupt(driver)
        assert driver.wait(timeout=300) == STOPPED
        wait_for_end(driver)
    assert "run the same command again to continue" in " ".join(slow.said().split())
    assert "Traceback" not in slow.said()
    assert [v.state for v in slow.views()] == ["RUNNING", "RUNNING"]
    assert slow.refkd("doctor").returncode == 1
    first = begun(slow)
    with slow.driver() as driver:
        wait_for(lambda: begun(slow) >= first + 2, driver)
        interrupt(driver)
        time.sleep(0.5)
        interrupt(driver)
        assert driver.wait(timeout=300) == STOPPED
        wait_for_end(driver)
    assert "Traceback" not in slow.said()
    assert slow.search() == 0, slow.said()
    assert_sound(slow, trials=TRIALS)
    assert slow.refkd("doctor").returncode == 0


@pytest.mark.parametrize(
    ("number", "send", "code"),
    [
        (signal.SIGTERM, os.kill, 143),
        (signal.SIGTERM, os.killpg, 143),
        (signal.SIGHUP, os.killpg, 129),
    ],
)
def test_a_signal_to_the_driver_or_to_all_of_its_group_stops_it(
    number: signal.Signals, send: Callable[[int, int], None], code: int, slow: Workspace
) -> None:
    """To all of them, Ray's own processes among them, it is sent by a terminal or a scheduler."""
    with slow.driver() as driver:
        wait_for(lambda: begun(slow) >= 3, driver)
        send(driver.pid, number)
        assert driver.wait(timeout=300) == code
        wait_for_end(driver)
    assert said(slow).endswith("run the same command again to continue")
    for word in ("Traceback", "***", "stack trace"):  # of Python, of C++
        assert word not in slow.said()
    assert slow.search() == 0, slow.said()
    assert_sound(slow, trials=TRIALS)


def said(workspace: Workspace) -> str:
    return " ".join(workspace.said().split())


def test_ctrl_c_before_the_first_trial_says_how_to_continue(slow: Workspace) -> None:
    with slow.driver() as driver:
        wait_for(lambda: slow.output.exists() and (slow.runs / "studies").exists(), driver)
        interrupt(driver)
        assert driver.wait(timeout=300) == STOPPED
        wait_for_end(driver)
    assert "run the same command again to continue" in " ".join(slow.said().split())
    assert "Traceback" not in slow.said()
