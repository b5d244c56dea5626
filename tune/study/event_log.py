"""The order of a study's events, and the hashes that protect it.

Only the driver writes events, so they have one order. Each event is stamped with its place and
with a hash over itself and the previous event's hash. What a decision was based on is everything
with a lower place, and a value that is changed afterwards no longer matches its hash.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refkd.files import canonical_json
from tune.study.view import STAMP, Stamp, read_stamp

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tune.study.sqlite_reader import StoredTrial

START = "0" * 16


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEvent:
    """An event as an attribute holds it; `tune.study.events` declares its kinds and fields."""

    number: int | None
    """The trial; None for an event of the study."""
    key: str
    content: dict[str, Any]
    stamp: Stamp


class EventLog:
    """Stamps new events, continuing the order of those that the storage holds."""

    def __init__(
        self,
        trials: Iterable[FrozenTrial | StoredTrial] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """`attributes` are the study's own."""
        last = max(events(trials, attributes), key=lambda e: e.stamp.place, default=None)
        self._place, self._digest = (last.stamp.place, last.stamp.digest) if last else (0, START)

    def stamp(
        self, number: int | None, key: str, content: Mapping[str, Any], *, launch: int
    ) -> dict[str, Any]:
        """Return an event's content with its stamp, ready to be stored."""
        self._place += 1
        self._digest = link(self._digest, [self._place, launch, number, key, dict(content)])
        return {**content, STAMP: [self._place, time.time(), self._digest, launch]}


def link(before: str, event: list[Any]) -> str:
    """Return the hash of an event that follows the event with the hash `before`."""
    return hashlib.sha256(canonical_json([before, *event])).hexdigest()[:16]


def events(
    trials: Iterable[FrozenTrial | StoredTrial], attributes: Mapping[str, Any] | None = None
) -> Iterator[StoredEvent]:
    """Yield every event of some trials, and of the study's own attributes, in no order."""
    holders = [*((trial.number, trial.user_attrs) for trial in trials), (None, attributes or {})]
    for number, held in holders:
        for key, value in held.items():
            if isinstance(value, dict) and STAMP in value:
                content = {k: v for k, v in value.items() if k != STAMP}
                stamp = read_stamp(value)
                yield StoredEvent(number=number, key=key, content=content, stamp=stamp)


def broken(
    trials: Iterable[FrozenTrial | StoredTrial], attributes: Mapping[str, Any] | None = None
) -> StoredEvent | None:
    """Return the first event whose content does not match its hash; None where all do.

    Where an event is missing, the one after it does not match.
    """
    before = START
    for event in sorted(events(trials, attributes), key=lambda e: e.stamp.place):
        stamp = event.stamp
        facts = [stamp.place, stamp.launch, event.number, event.key, event.content]
        if link(before, facts) != stamp.digest:
            return event
        before = stamp.digest
    return None
