"""A signal at any moment of a program: its exit code, one sentence, and nothing swallowed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tune.ending.exits import ExitCode
from tune.ending.listener import STOPPED

CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.HANGUP,
}
MOMENTS: dict[str, tuple[str, str]] = {
    "before all work": ("come(); rest()", ""),
    "in work": ("with at_work(): come(); rest()", ""),
    "in an import, with nothing held": ("with at_work(): import half", ""),
    "in an import that is waited for": ("with at_work(), to_be_unwound(): import half", "whole\n"),
    "in an import that is tried": (
        """
        with at_work(), to_be_unwound():
            try:
                import half
            except BaseException:
                print("not whole")
            rest()
        """,
        "whole\n",
    ),
    "swallowed by a library": (
        """
        with at_work():
            try:
                come(); rest()
            except BaseException:
                print("swallowed", flush=True)
            rest()
        """,
        "swallowed\n",
    ),
    "swallowed by a finaliser": (
        """
        class Dropped:
            def __del__(self):
                come()

        with at_work(), to_be_unwound():
            Dropped()
            rest()
        """,
        "",
    ),
    "swallowed by a callback": (
        """
        class Dropped:
            pass

        with at_work():
            dropped = Dropped()
            kept = weakref.ref(dropped, lambda _: (come(), rest()))
            del dropped
            rest()
        """,
        "",
    ),
    "with the system's handler put back in C": (
        """
        ctypes.CDLL(None).signal(int(signal.SIGTERM), 0)
        with at_work():
            come(); rest()
        """,
        "",
    ),
    "at the end of a loop that does not hear it": (
        """
        with at_work():
            with stopped_calmly(lambda: print("calm", flush=True) is None):
                come()
                time.sleep(0.2)
            with stopped_calmly(lambda: True):
                print("another loop")
        """,
        "calm\n",
    ),
    "at the end of all work that does not hear it": (
        """
        with at_work(), stopped_calmly(lambda: True):
            come()
            time.sleep(0.2)
            print("done", flush=True)
        """,
        "done\n",
    ),
    "in a loop that cannot end calmly": (
        "with at_work(), stopped_calmly(lambda: False): come(); rest()",
        "",
    ),
    "as the terminal hangs up": (
        """
        with at_work():
            try:
                come(); rest()
            finally:
                raise OSError(5, "the terminal is gone")
        """,
        "",
    ),
    "after all work": ("with at_work(): pass\ncome(); rest()", ""),
}
"""What a program does, and what it prints; `come` is the signal."""
PROGRAM = """
import builtins, ctypes, os, signal, subprocess, sys, time, weakref
from tune.ending.exits import UnfinishedError
from tune.ending.stopping import *

def come(number={number}):
    os.kill(os.getpid(), number)
    time.sleep(0.05)

def rest():
    for _ in range(600):
        time.sleep(0.1)
    print("never stopped")

builtins.come = come
sys.path.insert(0, sys.argv[1])
hear_signals()
try:
{body}
except UnfinishedError as error:
    print(f"refkd: {{error}}", file=sys.stderr)
    sys.exit(error.code)
"""
HALF = "come()\nimport time\ntime.sleep(0.1)\nprint('whole', flush=True)\n"


def run(folder: Path, body: str, number: int = 0, **more: object) -> tuple[int, str, str]:
    """Run a program that hears signals; return its code, its output and what it says."""
    (folder / "half.py").write_text(HALF, encoding="utf-8")
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    command = [sys.executable, "-c", PROGRAM.format(number=int(number), body=body), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_a_program_with_one_sentence(
    moment: str, number: signal.Signals, tmp_path: Path
) -> None:
    body, printed = MOMENTS[moment]
    assert run(tmp_path, body, number) == (CODES[number], printed, f"refkd: {STOPPED}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["&", "nohup"])
def test_what_was_ignored_at_the_start_stays_ignored(
    number: signal.Signals, tmp_path: Path
) -> None:
    body = "with at_work(): come(); print('done')"
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert run(tmp_path, body, number) == (0, "done\n", "")
    finally:
        signal.signal(number, before)


def test_the_first_of_several_signals_gives_the_code(tmp_path: Path) -> None:
    body = """
    with at_work(), stopped_calmly(lambda: True):
        come(signal.SIGHUP); come(signal.SIGTERM); rest()
    """
    assert run(tmp_path, body)[0] == ExitCode.HANGUP


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_programs_that_are_started_meet_signals_as_usual(
    number: signal.Signals, tmp_path: Path
) -> None:
    sleeper = "subprocess.Popen(['sleep', '600']{})"
    body = f"""
    with at_work():
        with signals_for_children():
            first = {sleeper.format("")}
        second = {sleeper.format(", preexec_fn=lambda: None")}
        for child in (first, second):
            child.send_signal({int(number)})
            print(child.wait())
    """
    assert run(tmp_path, body) == (0, f"-{int(number)}\n" * 2, "")


@pytest.mark.parametrize("heard", [True, False])
def test_work_that_cannot_go_on_is_given_up(heard: bool, tmp_path: Path) -> None:
    """Where the main thread hears of it, and where it cannot."""
    body = f"""
    import threading
    class Lost(UnfinishedError):
        code = 5

    def lose():
        give_up(Lost("Ray died"), seconds=1.0)

    with at_work(), to_be_unwound(), stopped_calmly(lambda: True):
        threading.Thread(target=lose).start()
        while True:
            try:
                rest()
            except BaseException:
                if {heard}:
                    raise
    """
    assert run(tmp_path, body) == (ExitCode.RUN_AGAIN, "", "refkd: Ray died\n")


def test_work_that_a_signal_met_as_well_ends_with_its_code(tmp_path: Path) -> None:
    body = """
    import threading
    with at_work(), stopped_calmly(lambda: True):
        come()
        lost = UnfinishedError("Ray died")
        threading.Thread(target=lambda: give_up(lost, seconds=60.0)).start()
        rest()
    """
    ended = run(tmp_path, body, signal.SIGTERM)
    assert ended == (ExitCode.TERMINATED, "", f"refkd: {STOPPED}\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_heard_before_the_loss_that_it_causes(
    number: signal.Signals, tmp_path: Path
) -> None:
    """A group's signal ends Ray as well, while the main thread is in C and runs no handler."""
    body = """
    import hashlib, threading

    def lose():
        time.sleep(0.2)
        come()
        time.sleep(0.2)
        give_up(UnfinishedError("Ray died"), seconds=60.0)

    with at_work(), stopped_calmly(lambda: True):
        threading.Thread(target=lose).start()
        while True:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 5_000_000)
    """
    ended = run(tmp_path, body, number)
    assert ended == (ExitCode(128 + number), "", f"refkd: {STOPPED}\n")


def test_a_second_signal_ends_work_that_does_not_unwind(tmp_path: Path) -> None:
    body = """
    with at_work():
        try:
            come()
        except BaseException:
            come = __builtins__.come
        while True:
            try:
                come(); rest()
            except BaseException:
                pass
    """
    assert run(tmp_path, body, signal.SIGINT)[0] == ExitCode.INTERRUPTED


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("module", ["typer", "tune.cli.study", "tune.study.snapshot", "pydantic"])
def test_refkd_stops_while_it_imports(module: str, number: signal.Signals, tmp_path: Path) -> None:
    """The signal comes as a module is looked for, halfway through the start of the command."""
    program = f"""
import importlib.abc, os, sys, time
class Trap(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {int(number)})
            time.sleep(5)
sys.meta_path.insert(0, Trap())
from tune.cli import main
main()
"""
    command = [sys.executable, "-c", program, "status", "sqlite:///nowhere.db#a"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    ended = (done.returncode, done.stdout, done.stderr)
    assert ended == (CODES[number], "", f"refkd: {STOPPED}\n")
