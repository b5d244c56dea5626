"""The thread that sends operations to a tracking server, however long that takes."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_not_exception_type, wait_exponential
from tenacity.nap import sleep_using_event

from refkd.masking import masked
from tune.ending.stopping import is_stopping
from tune.study.database import first_line
from tune.tracking.cursor import Cursor
from tune.tracking.operations import EndRun, LogEpoch, Operation, RefusedError
from tune.tracking.target import Target, client_settings

if TYPE_CHECKING:
    from tune.tracking.writer import Writer

T = TypeVar("T")
Source = Callable[[], Sequence[Operation]]
"""Returns what may have changed since its last call; at the first one everything."""
_log = logging.getLogger(__name__)

PATIENCE = 5
"""How often an operation may fail while the server answers other requests."""
RETRY = 60.0
"""Seconds after which what was postponed is tried again."""
LONG_DOWN = 15.0
"""Seconds after which a delivery that is to close tries a server no more that does not answer."""
POLL = 0.1
"""Seconds between two checks of the thread while a delivery is closed."""
HURRY = 3.0
"""Seconds that a delivery may take to close once a signal stops the program."""
GATHER = 0.5
"""Seconds between two calls of the source, in which epochs gather: a run's are sent at once."""
SLOW, LATE = 0.5, 3
"""A server is slow where each of the last `LATE` requests took longer than `SLOW` seconds."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
"""Seconds between the first two tries, doubled from then on, and at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """What became of the operations by the time a delivery was closed."""

    sent: int = field(default=0, compare=False)
    left: int = 0
    """Operations that the server lacks; the next launch sends them."""
    refused: int = 0
    """Operations put aside in this launch."""
    problem: str | None = None
    """Why the last try failed, where operations are left."""


class _PostponedError(Exception):
    """An operation failed often, for a reason that may pass, on a server that answers."""


class Delivery:
    """Sends in a thread what a server lacks of a source.

    What the server will never take is put aside for good. A run of which something fails though
    the server answers lets the others pass, and is tried again later, at the latest at the end.
    """

    def __init__(
        self, target: Target, open_source: Callable[[], Source], cursor: Cursor | None = None
    ) -> None:
        self.target, self._open = target, open_source
        self._cursor = target.cursor() if cursor is None else cursor
        self._sent = self._rejected = 0
        self._problem: BaseException | None = None
        self._postponed: set[str] = set()
        """Runs that wait until others were taken."""
        self._later = 0.0
        """When they are tried again."""
        self._doubtful = False
        """Whether nothing was taken since a run was postponed: others are tried once then."""
        self._took: deque[float] = deque(maxlen=LATE)
        self._struggles = self._unsaved = False
        self._wake = threading.Event()
        self._wake.set()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._settings = ExitStack()
        self._settings.enter_context(client_settings())
        self._thread = threading.Thread(target=self._run, name="refkd-tracking", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that the source may have news."""
        self._wake.set()

    def close(self, seconds: float, *, struggling: float = math.inf) -> Delivered:
        """Send for at most so many seconds, or `struggling` while the server is down or slow."""
        self._closing.set()
        self._wake.set()
        begun = time.monotonic()
        while self._thread.is_alive():
            limit = min(seconds, struggling) if self._struggles else seconds
            if is_stopping():
                limit = min(limit, HURRY)
            left = begun + limit - time.monotonic()
            if left <= 0:
                break
            self._thread.join(min(left, POLL))
        self._given_up.set()
        behind = self._thread.is_alive() or self._problem is not None or bool(self._postponed)
        # Another source: the thread may be at work with its own.
        lacking = len(self._cursor.pending(self._open()())) if behind else 0
        why = "the server does not answer in time" if lacking else None
        if self._problem is not None:
            why = first_line(self._problem)
        return Delivered(sent=self._sent, left=lacking, refused=self._rejected, problem=why)

    def _run(self) -> None:
        with self._settings:  # for as long as a request takes, though nobody waits for it
            self._send_all()

    def _send_all(self) -> None:
        writer: Writer | None = None
        try:
            source = self._retrying(self._open)
            while not self._given_up.is_set():
                self._wake.wait()
                self._wake.clear()
                # Asked before the source is: what happens before closing is never missed.
                closing = self._closing.is_set()
                if self._postponed and (closing or time.monotonic() > self._later):
                    self._postponed, self._problem, self._doubtful = set(), None, False
                    source = self._retrying(self._open)
                queue = self._cursor.pending(self._retrying(source))
                if queue and writer is None:
                    writer = self._retrying(self.target.writer)
                    if self._cursor.enter(writer.experiment):  # it has nothing
                        source = self._retrying(self._open)
                        queue = self._cursor.pending(self._retrying(source))
                if queue and writer is not None:
                    self._send(writer, queue)
                    self._closing.wait(GATHER)
                if closing:
                    return
        except Exception as error:  # an outage, or a mistake of ours: the rest is sent later
            self._problem = error

    def _send(self, writer: Writer, queue: list[Operation]) -> None:
        try:
            for operations in parcels(queue):
                if self._given_up.is_set():
                    return
                if operations[0].run not in self._postponed:  # the order of a run counts
                    self._deliver(writer, operations)
        finally:
            try:
                self._cursor.save()
                self._unsaved = False
            except OSError as error:  # a full disk: it is sent again later, to no harm
                if not self._unsaved:
                    what = "what MLflow has cannot be noted, and is sent again later"
                    _log.warning("%s; %s", error, what)
                self._unsaved = True

    def _deliver(self, writer: Writer, operations: list[Operation]) -> None:
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            begun = time.monotonic()
            try:
                writer.send(*operations)
            except Exception as error:
                if isinstance(error, RefusedError):
                    raise RefusedError(f"{type(error).__name__}: {error}") from error
                if tries >= (1 if self._doubtful else PATIENCE) and writer.answers():
                    raise _PostponedError from error
                raise
            self._doubtful = False
            self._took.append(time.monotonic() - begun)
            self._struggles = len(self._took) == LATE and min(self._took) > SLOW

        try:
            self._retrying(once)
            self._sent += len(operations)
            self._cursor.add(operations)
        except _PostponedError as postponed:
            if len(operations) > 1:
                for one in operations:
                    if one.run not in self._postponed:
                        self._deliver(writer, [one])
                return
            self._doubtful, self._problem = True, postponed.__cause__
            self._postponed.add(operations[0].run)
            self._later = time.monotonic() + RETRY
        except RefusedError as refusal:
            if len(operations) > 1:
                for one in operations:
                    self._deliver(writer, [one])
                return
            # Put aside what the server will never take, so that it is not sent again.
            (one,), reason = operations, masked(str(refusal))
            row = {"reason": reason, "operation": asdict(one), "key": one.key}
            with suppress(OSError):
                self.target.folder.mkdir(parents=True, exist_ok=True)
                with self.target.refused.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._rejected += 1
            self._cursor.add(operations)

    def _retrying(self, action: Callable[[], T]) -> T:
        """Repeat what fails until it succeeds, is refused, or the launch gives up."""

        def note_failure(_: RetryCallState) -> None:
            self._struggles = True

        def is_hopeless(state: RetryCallState) -> bool:
            tries, seconds = state.attempt_number, state.seconds_since_start or 0.0
            long_down = tries >= PATIENCE or seconds > LONG_DOWN
            return self._given_up.is_set() or (self._closing.is_set() and long_down)

        return Retrying(
            retry=retry_if_not_exception_type((RefusedError, _PostponedError)),
            wait=wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
            stop=is_hopeless,
            sleep=sleep_using_event(self._given_up),
            before_sleep=note_failure,
            reraise=True,
        )(action)


def send(
    target: Target, operations: Sequence[Operation], seconds: float, *, again: bool = False
) -> Delivered:
    """Send operations for at most so many seconds; `again` also what the server has."""
    cursor = target.cursor()
    if again:
        cursor.forget(operations)
    return Delivery(target, lambda: lambda: operations, cursor).close(seconds)


def parcels(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """Yield what is sent at once: the epochs of a run that nothing comes between, and its end."""
    found: list[list[Operation]] = []
    growing: dict[str, list[Operation]] = {}
    for one in operations:
        if isinstance(one, EndRun) and one.run in growing:
            growing.pop(one.run).append(one)
        elif not isinstance(one, LogEpoch):
            found.append([one])
            growing.pop(one.run, None)
        elif one.run in growing:
            growing[one.run].append(one)
        else:
            growing[one.run] = [one]
            found.append(growing[one.run])
    yield from found
