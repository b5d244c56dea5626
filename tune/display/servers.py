"""The servers of `refkd ui`: started together, ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from refkd.errors import RefKDError
from refkd.masking import masked
from tune.display.ui import Page
from tune.ending.stopping import end_is_wanted, signals_for_children, to_be_unwound

START_SECONDS, END_SECONDS = 120.0, 5.0
"""For a server to answer, and to end before it is killed."""


def serve(pages: Sequence[Page], ready: Callable[[], None]) -> None:
    """Run the servers of some pages until Ctrl-C or SIGTERM, which ends them all.

    `ready` is called when all answer. Raises `RefKDError` with the end of its log where one ends,
    `KeyboardInterrupt` where the signal comes before.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    with to_be_unwound(), TemporaryDirectory(prefix="refkd-ui-") as folder:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            waiting = [page for page in pages if page.command]
            for page in waiting:
                running[page.name] = _start(page, Path(folder))
            until = time.monotonic() + START_SECONDS
            while True:
                late = bool(waiting) and time.monotonic() > until
                for name, process in running.items():
                    if late or process.poll() is not None:
                        raise _failed(name, Path(folder), late=late)
                if waiting:
                    waiting = [page for page in waiting if not _answers(page.address)]
                    if not waiting:
                        ready()
                time.sleep(0.3)
        except KeyboardInterrupt:
            if waiting:
                raise
            end_is_wanted()
        finally:
            _end(list(running.values()))
            signal.signal(signal.SIGTERM, before)


def _start(page: Page, folder: Path) -> subprocess.Popen[bytes]:
    command = list(page.command)
    if page.config is not None:
        path = folder / f"{page.name}.json"  # the folder is its owner's alone
        path.write_text(page.config, encoding="utf-8")
        command.append(str(path))
    with _log(page.name, folder).open("wb") as output, signals_for_children():
        # A session of its own: the workers that it starts are ended with it, by us alone.
        return subprocess.Popen(
            command,
            env={**os.environ, **page.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _log(name: str, folder: Path) -> Path:
    return folder / f"{name}.log"


def _failed(name: str, folder: Path, *, late: bool) -> RefKDError:
    text = masked(_log(name, folder).read_text(encoding="utf-8", errors="replace"))
    what = "does not answer" if late else "ended by itself"
    return RefKDError(f"{name} {what}: {' '.join(text.split())[-400:] or 'it printed nothing'}")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address.partition("#")[0], timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    until = time.monotonic() + END_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
