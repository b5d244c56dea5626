"""A Ray of this machine alone: in a private folder, watched, and gone when its driver is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from refkd.errors import RefKDError
from tune import compat
from tune.ending.exits import ClusterLostError
from tune.ending.listener import AGAIN
from tune.ending.stopping import give_up, given_up_in_time, signals_for_children
from tune.execution import guardian

_LONGEST = 30
"""Bytes of a folder in which Ray's folder can lie: the path of a Unix socket has 107 at most."""
_PERIOD = 1.0
"""Seconds between two looks at Ray's processes."""
_GRACE = 8.0
"""Seconds that a driver has to unwind once Ray has died under it."""
_END = 30.0
"""Seconds that a guardian has to end."""


@contextmanager
def local_ray(level: int) -> Iterator[None]:
    """Run the body with a Ray started here, of which nothing is left afterwards.

    Raises `ClusterLostError` where one of Ray's own processes dies meanwhile.
    """
    import ray

    with guarded_folder() as folder, watched():
        before = os.umask(0o077)  # its files, such as its token, are this user's alone
        try:
            ray.init(
                address="local",  # else it would join a cluster of this machine
                num_cpus=os.cpu_count() or 1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=level,
                **compat.in_folder(folder),
            )
        finally:
            os.umask(before)
        yield


@contextmanager
def guarded_folder() -> Iterator[Path]:
    """Yield a new folder for a Ray; with it end all processes that use it, even after kill -9."""
    folder = private_folder()
    command = [sys.executable, "-P", guardian.__file__, str(folder)]
    with signals_for_children():
        watching = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends this one's group must not end it
        )
    try:
        yield folder
    finally:
        assert watching.stdin is not None
        watching.stdin.close()
        try:
            ended = watching.wait(_END) == 0
        except subprocess.TimeoutExpired:
            ended = False
        if not ended or folder.exists():  # somebody killed it
            guardian.end_ray(folder, spared=os.getpid())


def private_folder() -> Path:
    """Make a folder that no other user can read, with a path short enough for Ray's sockets.

    It lies in `RAY_TMPDIR` or the temporary folder, else where a short path can be written.
    """
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    for place in map(os.path.realpath, (wanted, "/tmp", "/var/tmp", "/dev/shm")):
        if len(os.fsencode(place)) <= _LONGEST:
            with suppress(OSError):  # full, or not to be written
                return Path(tempfile.mkdtemp(prefix="ray-", dir=place))
    raise RefKDError(
        f"{wanted}: Ray needs a temporary folder that can be written, with a path of at most "
        f"{_LONGEST} characters, since it makes sockets there; set RAY_TMPDIR to one"
    )


@contextmanager
def watched() -> Iterator[None]:
    """Raise `ClusterLostError` where a process of the Ray that the body starts dies under it.

    Ray's own driver would not notice a dead raylet, and die of a dead GCS after a minute. Ray is
    shut down at the end.
    """
    import ray

    watch = _Watch()
    watch.start()
    try:
        yield
    except BaseException:
        if watch.lost is not None:  # whatever came of it
            raise watch.lost from None
        raise
    finally:
        watch.end()
        ray.shutdown()
        if watch.lost is not None:
            given_up_in_time()


class _Watch(threading.Thread):
    """Looks at the processes that this one has started under the names of Ray's."""

    def __init__(self) -> None:
        super().__init__(name="refkd-ray", daemon=True)
        self.lost: ClusterLostError | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        """Interrupt the main thread once one is dead."""
        me, seen = psutil.Process(), dict[psutil.Process, str]()
        while self.lost is None and not self._ended.wait(_PERIOD):
            for child in me.children():
                seen.setdefault(child, _name(child))
            for process, name in seen.items():
                if name in compat.RAY_PROCESSES and _is_dead(process):
                    self.lost = ClusterLostError(
                        f"Ray's {name} has died, killed or for want of memory, and its trials "
                        f"with it; nothing that was stored is lost: {AGAIN}"
                    )
        if self.lost is not None:
            give_up(self.lost, seconds=_GRACE)

    def end(self) -> None:
        """Look no more: Ray's processes are about to be ended."""
        self._ended.set()
        self.join()


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _is_dead(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
