"""The lock of a study's driver, which the system or PostgreSQL frees when its holder dies."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from pathlib import Path

import filelock

from refkd.urls import Url
from tune import compat
from tune.study.server_lock import ServerLock
from tune.study.storage import StorageError, file_of, mend_journal

STALE = 3.0
"""Seconds after which a journal's lock that does not change counts as a dead writer's. An append
takes milliseconds; Optuna itself waits for 30 s."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


def driver_lock(url: Url | str, study: str) -> DriverLock:
    """Return the lock of a study's driver, not yet taken."""
    path = file_of(url)
    if path is None:
        return ServerLock(url, study)
    return FileLock(path.with_name(f"{path.name}.{study}.driver"))


class FileLock:
    """A lock on a file; where the file system has none every process takes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = filelock.FileLock(
            path, blocking=False, fallback_to_soft=False, thread_local=False
        )

    def acquire(self) -> bool:
        """Take the lock unless it is taken, and return whether this process holds it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except filelock.Timeout:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise StorageError(
                    f"{self._path}: the driver's lock cannot be written beside the storage "
                    f"({error.strerror}); give a storage in a folder that can be written"
                ) from None
        return True

    def release(self) -> None:
        """Free the lock, however often it was taken."""
        self._lock.release(force=True)


DriverLock = FileLock | ServerLock


def settle_journal(path: Path) -> int:
    """Repair a journal whose writer died in an append; return the bytes that were cut off."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists():
        return 0
    own = JournalFileSymlinkLock(str(path))
    link = compat.journal_lock(path)
    since, holder = time.monotonic(), _holder(link)
    while holder is not None and time.monotonic() - since < STALE:
        time.sleep(0.02)
        before, holder = holder, _holder(link)
        if holder != before:
            since = time.monotonic()
    if holder is not None:
        with suppress(RuntimeError):  # its holder lived after all and has just removed it
            own.release()
    own.acquire()  # drivers of other studies may be writing to the same journal
    try:
        return mend_journal(path)
    finally:
        own.release()


def _holder(link: Path) -> tuple[int, int] | None:
    """Return what tells one holder's lock from the next one's; None where there is none."""
    try:
        found = link.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns
