"""The thread that carries a spool's events to a receiver, however long that takes."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_not_exception_type,
    wait_exponential,
)
from tenacity.nap import sleep_using_event

from tune.tracking.spool import Event, RefusedError, Spool

if TYPE_CHECKING:
    from tune.tracking.sender import Sender

T = TypeVar("T")

PATIENCE = 5
"""How often an event may fail while the server answers other requests."""
LOOK = 0.1
"""Seconds between two looks at how the server does while a courier is closed."""
GATHER = 0.5
"""Seconds in which epochs gather between two looks at the spool: a run's are sent at once."""
SLOW, LATE = 0.5, 3
"""A server is slow where each of the last few deliveries took longer than so many seconds."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
"""Seconds between the first two tries, doubled from then on, and at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What became of the events by the time a courier was closed."""

    left: int = 0
    """Events that are still in the spool; the next launch sends them."""
    rejected: int = 0
    """Events put aside in this launch."""
    problem: str | None = None
    """Why the last try failed, where events are left."""


class Courier:
    """Sends a spool's events in order; an outage delays them, a refusal passes one over.

    `connect` makes the receiver. It is called in the thread and only when there is something to
    send, since it imports MLflow. What an error says is kept as `show` returns it.
    """

    def __init__(
        self,
        spool: Spool,
        target: str,
        connect: Callable[[], Sender],
        *,
        show: Callable[[str], str] = str,
    ) -> None:
        self._spool = spool
        self._target = target
        self._connect = connect
        self._show = show
        self._offset = spool.mark(target)
        self._rejected = 0
        self._problem: BaseException | None = None
        self._took: deque[float] = deque(maxlen=LATE)
        self._struggles = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="refkd-tracking", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that the spool has grown."""
        self._wake.set()

    def close(self, seconds: float, *, struggling: float = math.inf) -> Delivery:
        """Send what is left for at most so many seconds, then say what became of it.

        `struggling` bounds them while the server is down or slow.
        """
        self._spool.flush()
        self._closing.set()
        self._wake.set()
        begun = time.monotonic()
        while self._thread.is_alive():
            limit = min(seconds, struggling) if self._struggles else seconds
            left = begun + limit - time.monotonic()
            if left <= 0:
                break
            self._thread.join(min(left, LOOK))
        self._given_up.set()
        unwritten = self._spool.flush()
        left = len(self._spool.read(self._offset, size=-1)) + unwritten
        slow = TimeoutError("the server does not answer in time") if left else None
        problem = self._problem or self._spool.problem or slow
        told = None if problem is None else self._show(str(problem))
        return Delivery(left=left, rejected=self._rejected, problem=told)

    def _carry(self) -> None:
        sender: Sender | None = None
        try:
            while not self._given_up.is_set():
                # Asked before the spool is read: what is told before closing is never missed.
                closing = self._closing.is_set()
                batch = self._spool.read(self._offset)
                if batch and sender is None:
                    sender = self._insist(self._connect)
                    self._offset = 0 if sender.is_new else self._offset
                elif batch and sender is not None:
                    self._send(sender, batch)
                    self._closing.wait(GATHER)
                elif closing:
                    return
                else:
                    self._wake.wait()
                    self._wake.clear()
        except RetryError as gave_up:
            self._problem = gave_up.last_attempt.exception()
        except OSError as error:  # of the spool's own disk: nothing can be marked as sent
            self._problem = error

    def _send(self, sender: Sender, batch: list[tuple[int, Event | str]]) -> None:
        try:
            for events, offset in parcels(batch):
                self._deliver(sender, events)
                self._offset = offset
        finally:
            with suppress(OSError):  # a full disk: what is not marked is sent again some day
                self._spool.set_mark(self._target, self._offset)

    def _deliver(self, sender: Sender, events: list[Event | str]) -> None:
        known = [event for event in events if isinstance(event, Event)]
        if not known:
            self._reject(events[0], "the line is no event")
            return
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            begun = time.monotonic()
            try:
                sender.send(*known)
            except Exception as error:
                if isinstance(error, RefusedError) or (tries >= PATIENCE and sender.answers()):
                    raise RefusedError(f"{type(error).__name__}: {error}") from error
                raise
            self._took.append(time.monotonic() - begun)
            self._struggles = len(self._took) == LATE and min(self._took) > SLOW

        try:
            self._insist(once)
        except RefusedError as refusal:
            if len(known) == 1:
                self._reject(known[0], self._show(str(refusal)))
            else:
                for event in known:
                    self._deliver(sender, [event])

    def _reject(self, event: Event | str, reason: str) -> None:
        self._spool.reject(event, reason)
        self._rejected += 1

    def _insist(self, action: Callable[[], T]) -> T:
        """Repeat what fails until it succeeds, is refused, or the launch gives up."""
        retrying = Retrying(
            retry=retry_if_not_exception_type(RefusedError),
            wait=wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
            stop=self._is_hopeless,
            sleep=sleep_using_event(self._given_up),
            before_sleep=self._note_failure,
        )
        return retrying(action)

    def _note_failure(self, _: RetryCallState) -> None:
        self._struggles = True

    def _is_hopeless(self, state: RetryCallState) -> bool:
        """Return whether to leave the rest to the next launch."""
        long_down = self._closing.is_set() and state.attempt_number >= PATIENCE
        return self._given_up.is_set() or long_down


def parcels(batch: list[tuple[int, Event | str]]) -> Iterator[tuple[list[Event | str], int]]:
    """Yield what is sent at once, and the offset up to which all is sent then.

    The epochs of a run go together, and with its end, as far as nothing else of that run lies
    between them.
    """
    found: list[list[int]] = []
    growing: dict[str, list[int]] = {}
    for place, (_, event) in enumerate(batch):
        if not isinstance(event, Event):
            found.append([place])
        elif event.kind == "end" and event.run in growing:
            growing.pop(event.run).append(place)
        elif event.kind != "epoch":
            found.append([place])
            growing.pop(event.run, None)
        elif event.run in growing:
            growing[event.run].append(place)
        else:
            growing[event.run] = [place]
            found.append(growing[event.run])
    following = [parcel[0] for parcel in found[1:]] + [len(batch)]
    for parcel, first_unsent in zip(found, following, strict=True):
        yield [batch[place][1] for place in parcel], batch[first_unsent - 1][0]
