"""Servers that run while somebody looks: started together, ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from refkd.errors import RefKDError
from tune.display.ui import Page

START_SECONDS, END_SECONDS = 120.0, 5.0
"""For a server to answer, and to end before it is killed."""


def serve(pages: Sequence[Page], ready: Callable[[], None]) -> None:
    """Run the servers of some pages until Ctrl-C or SIGTERM, which ends them all.

    `ready` is called when all answer. Raises `RefKDError` with the end of its log where one ends.
    """
    with TemporaryDirectory(prefix="refkd-ui-") as folder, _interrupted_by_term():
        running: list[tuple[Page, subprocess.Popen[bytes], Path]] = []
        try:
            for page in (page for page in pages if page.command):
                log = Path(folder) / f"{page.name}.log"
                running.append((page, _start(page, Path(folder), log), log))
            waiting = list(running)
            until = time.monotonic() + START_SECONDS
            while True:
                _check(running, late=bool(waiting) and time.monotonic() > until)
                if waiting:
                    waiting = [one for one in waiting if not _answers(one[0].address)]
                    if not waiting:
                        ready()
                time.sleep(0.3)
        except KeyboardInterrupt:
            return
        finally:
            _end([process for _, process, _ in running])


def _start(page: Page, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    command = list(page.command)
    if page.config is not None:
        path = folder / f"{page.name}.toml"  # the folder is its owner's alone
        path.write_text(page.config, encoding="utf-8")
        command.append(str(path))
    with log.open("wb") as output:
        # A session of its own: the workers that it starts are ended with it, by us alone.
        return subprocess.Popen(
            command,
            env={**os.environ, **page.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _check(running: Sequence[tuple[Page, subprocess.Popen[bytes], Path]], *, late: bool) -> None:
    for page, process, log in running:
        if process.poll() is not None or late:
            said = " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-400:]
            what = "does not answer" if late else "ended by itself"
            raise RefKDError(f"{page.name} {what}: {said or 'it said nothing'}")


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


@contextmanager
def _interrupted_by_term() -> Iterator[None]:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
