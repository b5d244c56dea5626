"""The one order of all that happens to a study, and the hashes that keep it honest.

The driver alone writes, so its events have an order. Each is stamped with its place in it and with
a hash over itself and the hash before it: what was known when a decision was taken is whatever has
a lower place, and a value that is changed afterwards no longer fits its hash.
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
    """An event as stored: of which trial, under which key, what, and its stamp.

    Its kind and fields are those of `tune.study.events`.
    """

    number: int | None
    """The trial; None for an event of the study."""
    key: str
    content: dict[str, Any]
    stamp: Stamp


class Chain:
    """Stamps events; begun from what the storage holds, so that a new launch goes on."""

    def __init__(
        self,
        trials: Iterable[FrozenTrial | StoredTrial] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """`attributes` are the study's own."""
        last = max(events(trials, attributes), key=lambda e: e.stamp.place, default=None)
        self._place = last.stamp.place if last else 0
        self._digest = last.stamp.digest if last else START

    @property
    def place(self) -> int:
        """Place of the last event."""
        return self._place

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
    for trial in trials:
        yield from _stamped(trial.number, trial.user_attrs)
    yield from _stamped(None, attributes or {})


def broken(
    trials: Iterable[FrozenTrial | StoredTrial], attributes: Mapping[str, Any] | None = None
) -> StoredEvent | None:
    """Return the first event whose content does not fit its hash; None where all do.

    An event that is missing breaks the one after it.
    """
    before = START
    for event in sorted(events(trials, attributes), key=lambda e: e.stamp.place):
        stamp = event.stamp
        facts = [stamp.place, stamp.launch, event.number, event.key, event.content]
        if link(before, facts) != stamp.digest:
            return event
        before = stamp.digest
    return None


def _stamped(number: int | None, attributes: Mapping[str, Any]) -> Iterator[StoredEvent]:
    for key, value in attributes.items():
        if isinstance(value, dict) and STAMP in value:
            content = {k: v for k, v in value.items() if k != STAMP}
            yield StoredEvent(number=number, key=key, content=content, stamp=read_stamp(value))
