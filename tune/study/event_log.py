"""The order of a study's events, and the hash of each over itself and the one before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refkd.files import canonical_json
from tune.study.view import STAMP, Stamp, TrialView

START = "0" * 16


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEvent:
    """An event as an attribute holds it; every subclass of `EventBase` declares a kind."""

    number: int | None
    """The trial; None for an event of the study."""
    key: str
    content: dict[str, Any]
    stamp: Stamp


def link(before: str, event: list[Any]) -> str:
    """Return the hash of an event that follows the event with the hash `before`."""
    return hashlib.sha256(canonical_json([before, *event])).hexdigest()[:16]


def events(
    trials: Iterable[TrialView], attributes: Mapping[str, Any] | None = None
) -> list[StoredEvent]:
    """Return every event of some trials, and of the study's own attributes, in their order."""
    found = []
    for number, held in [*((t.number, t.attributes) for t in trials), (None, attributes or {})]:
        for key, value in held.items():
            if isinstance(value, dict) and STAMP in value:
                content = {k: v for k, v in value.items() if k != STAMP}
                stamp = Stamp(*value[STAMP])
                found.append(StoredEvent(number=number, key=key, content=content, stamp=stamp))
    return sorted(found, key=lambda event: event.stamp.place)


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """A place at which the order of a study's events does not hold."""

    event: StoredEvent
    """The first event behind it."""
    gone: int
    """Events that are missing before it; where none is, the event itself was changed."""


def breaks(
    trials: Iterable[TrialView], attributes: Mapping[str, Any] | None = None
) -> Iterator[Break]:
    """Yield where events were changed or removed; an event behind a gap cannot be checked."""
    place, before = 0, START
    for event in events(trials, attributes):
        stamp = event.stamp
        facts = [stamp.place, stamp.launch, event.number, event.key, event.content]
        gone = stamp.place - place - 1
        if gone > 0 or link(before, facts) != stamp.digest:
            yield Break(event=event, gone=max(0, gone))
        place, before = stamp.place, stamp.digest
