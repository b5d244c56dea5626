"""One driver a study: only the process that holds the lease writes to it.

A lock that the system frees when its holder dies decides (`tune.study.driver_lock`). The holder
also writes its name and a heartbeat into the study. They show which driver is at work, and they
refuse a driver on another machine that cannot see the lock, as on a shared folder without working
locks, until the holder has written no heartbeat for `EXPIRY` seconds.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from refkd.errors import RefKDError
from refkd.scoped import log_levels
from refkd.urls import Url
from tune import compat
from tune.ending.stopping import to_be_unwound
from tune.study.driver_lock import DriverLock, driver_lock, settle_journal
from tune.study.opening import check_schema
from tune.study.storage import StorageError, close_storage, file_of, is_journal, open_storage
from tune.study.user import user_name

DRIVER = "driver"
"""Key of the holder among the study's attributes; None while the lease is free."""
RENEWAL, EXPIRY = 10.0, 60.0
"""Seconds between two heartbeats, and after how many without one a holder counts as dead."""
_log = logging.getLogger(__name__)


class LeaseError(RefKDError):
    """Another driver is at work on the study."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The holder of a study's lease; times are seconds since 1970 by the clock of its machine."""

    user: str
    host: str
    process: int
    launch: str
    """A random name, another for each lease."""
    since: float
    renewed: float

    @classmethod
    def me(cls) -> Driver:
        """Return this process as the holder of a new lease."""
        now = time.time()
        return cls(
            user=user_name(),
            host=socket.gethostname(),
            process=os.getpid(),
            launch=secrets.token_hex(4),
            since=now,
            renewed=now,
        )

    def lives(self, *, expiry: float = EXPIRY) -> bool:
        """Return whether it may still be at work: its process runs, or has a recent heartbeat."""
        if self.host != socket.gethostname():
            return time.time() - self.renewed < expiry
        started = _started(self.process)
        # Later: the number was given to another process, or the clock was set since.
        return started is not None and started <= self.since + 1

    def runs(self) -> bool:
        """Return whether a process of this machine has its number."""
        return self.host == socket.gethostname() and _started(self.process) is not None

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        silent = max(0, round(time.time() - self.renewed))
        return (
            f"process {self.process} of {self.user} on {self.host} since {since} (last sign of "
            f"life {silent} s ago)"
        )


def _started(process: int) -> float | None:
    """Return when a process of this machine was started; None where there is none."""
    import psutil

    try:
        return psutil.Process(process).create_time()
    except psutil.NoSuchProcess:
        return None


def driver_of(attributes: Mapping[str, Any]) -> Driver | None:
    """Return the driver that holds the lease, or died with it, from a study's attributes."""
    return None if (facts := attributes.get(DRIVER)) is None else Driver(**facts)


def is_followed(holder: Driver | None, attributes: Mapping[str, Any]) -> bool:
    """Return whether another driver has the study now, or had it and gave it back."""
    found = driver_of(attributes)
    return holder is not None and (found is None or found.launch != holder.launch)


@contextmanager
def lease(
    url: Url | str,
    study: str,
    *,
    signs: Sequence[float],
    renewal: float = RENEWAL,
    expiry: float = EXPIRY,
) -> Iterator[Driver]:
    """Hold the lease of the study `study` in the storage `url` while the body runs.

    A study that does not exist yet is created, with an objective for each sign: 1 for one to
    maximise, -1 for one to minimise. Raises `LeaseError`, which names the holder, where another
    driver is at work, and at the end where the lease was lost on the way; the main thread is
    interrupted in that case, as by Ctrl-C.
    """
    url = Url(url)
    lock = driver_lock(url, study)
    if not lock.acquire():
        raise refusal(study, _lock_holder(url, study))
    try:
        held = _HeldLease(url, study, lock, renewal=renewal, expiry=expiry)
        with _interrupts_heard(), to_be_unwound():
            held.begin(signs)
            try:
                yield held.me
            finally:
                held.end()
                if held.lost:  # whatever the body was stopped by
                    raise refusal(study, _lock_holder(url, study)) from None
    finally:
        lock.release()


@contextmanager
def _interrupts_heard() -> Iterator[None]:
    """Let a lost lease interrupt a driver that ignores Ctrl-C since a script's `&` started it."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class _HeldLease:
    """A lease while it is held: renewed by a thread with its own connection to the storage."""

    def __init__(
        self, url: Url, study: str, lock: DriverLock, *, renewal: float, expiry: float
    ) -> None:
        self.me = Driver.me()
        self.lost = False
        self._url, self._study, self._lock = url, study, lock
        self._renewal, self._expiry = renewal, expiry
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="refkd-lease", daemon=True)

    def begin(self, signs: Sequence[float]) -> None:
        """Take the study over from its last holder, unless that one may still be at work."""
        path = file_of(self._url)
        self._storage = open_storage(self._url)
        try:
            found: int | None = None
            with suppress(KeyError):  # the study is not made yet
                found = self._storage.get_study_id_from_name(self._study)
            if found is not None:
                check_schema(self._study, self._storage.get_study_user_attrs(found))
                self._check_predecessor(found)
            if path is not None and is_journal(self._url):
                settle_journal(path)
            if found is None:
                directions = compat.directions(signs)
                with log_levels({"optuna": logging.WARNING}):
                    found = self._storage.create_new_study(directions, self._study)
            self._id = found
            self._write(self.me)
        except BaseException:
            close_storage(self._storage)
            raise
        self._thread.start()

    def end(self) -> None:
        """Stop renewing and leave the study to the next driver, unless one has it already."""
        self._ended.set()
        self._thread.join()
        try:
            self.lost = self.lost or self._is_followed()
            if not self.lost:
                self._write(None)
        except StorageError as error:  # the next driver sees that this one has ended
            _log.warning("the lease of study %s was not given back (%s)", self._study, error)
        finally:
            close_storage(self._storage)

    def _check_predecessor(self, study_id: int) -> None:
        found = self._holder(study_id)
        if found is None or (found.process == os.getpid() and found.host == self.me.host):
            return
        if found.lives(expiry=self._expiry):
            raise refusal(self._study, found)
        if found.host != self.me.host or found.runs():
            # Clocks differ and are set: a driver at work writes a heartbeat while we wait.
            time.sleep(2 * self._renewal)
            again = self._holder(study_id)
            if again is not None and again != found:
                raise refusal(self._study, again)

    def _keep(self) -> None:
        failing = False
        while not self._ended.wait(self._renewal):
            try:
                self.lost = self._is_followed() or not self._lock.acquire()
                if not self.lost:
                    self._write(replace(self.me, renewed=time.time()))
                failing = False
            except Exception as error:  # whatever a storage raises: logged, and tried again
                if not failing:
                    _log.warning(
                        "the lease of study %s could not be renewed (%s); after %g s without a "
                        "renewal another machine may take the study over",
                        self._study,
                        error,
                        self._expiry,
                    )
                failing = True
            if self.lost:
                _log.error("the lease of study %s is lost to another driver", self._study)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                break
        self._storage.remove_session()

    def _is_followed(self) -> bool:
        """Return whether another driver has taken the study over."""
        return is_followed(self.me, self._storage.get_study_user_attrs(self._id))

    def _holder(self, study_id: int) -> Driver | None:
        return driver_of(self._storage.get_study_user_attrs(study_id))

    def _write(self, driver: Driver | None) -> None:
        facts = None if driver is None else asdict(driver)
        self._storage.set_study_user_attr(self._id, DRIVER, facts)


def _lock_holder(url: Url, study: str) -> Driver | None:
    """Return the driver that has the lock; None where it has not written its name yet."""
    with suppress(StorageError, KeyError), ExitStack() as opened:  # it may be making the tables
        storage = open_storage(url, write=False)
        opened.callback(close_storage, storage)
        return driver_of(storage.get_study_user_attrs(storage.get_study_id_from_name(study)))
    return None


def refusal(study: str, driver: Driver | None) -> LeaseError:
    """Return the error that names the driver who is at work on a study."""
    return LeaseError(
        f"study {study!r} is being searched by {driver or 'another process'}; wait for it or stop "
        "it, then run the same command again"
    )
