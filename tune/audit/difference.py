"""What a replay has compared, and what differs from what is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from tune.study.event_log import StoredEvent, breaks
from tune.study.foreign import recognised
from tune.study.search_study import SearchStudy
from tune.study.view import ASKED, ENDED, ENDED_STATES, STAMP, view


@dataclass(frozen=True, slots=True)
class Difference:
    """Something stored that does not follow from what was stored before it."""

    trial: int | None
    """None where it is of the study itself."""
    what: str
    stored: Any
    replayed: Any

    def __str__(self) -> str:
        stored, replayed = _short(self.stored), _short(self.replayed)
        where = "the study" if self.trial is None else f"trial {self.trial}"
        return f"{where}: {self.what} is {stored}, replayed it is {replayed}"


def altered(trials: Sequence[FrozenTrial], attributes: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield what was changed after it was written."""
    known = recognised(map(view, trials), attributes)
    for one in known:
        asked, ended = (one.attributes.get(key) for key in (ASKED, ENDED))
        if asked is not None and asked["values"] != one.values:
            yield Difference(one.number, "the set of values", one.values, asked["values"])
        if ended is None or one.state not in ENDED_STATES:
            continue
        if one.state != ended["state"]:
            yield Difference(one.number, "the state", one.state, ended["state"])
        elif one.state == "COMPLETE" and one.objectives != ended["values"]:
            yield Difference(one.number, "the result", one.objectives, ended["values"])
    for found in breaks(known, attributes):
        event = found.event
        what = f"{event.key} (or what stood just before it)"
        yield Difference(event.number, what, event.content, "something its hash fits")


def compare(study: SearchStudy, number: int, event: StoredEvent) -> Difference | None:
    """Return how a replayed study differs from a stored event; None where it does not."""
    made = study.optuna.get_trials(deepcopy=False)[number].user_attrs.get(event.key)
    if made is None:
        return Difference(number, event.key, event.content, "not there")
    content = {key: value for key, value in made.items() if key != STAMP}
    if content != event.content:
        return Difference(number, event.key, event.content, content)
    return None


def _short(value: Any, limit: int = 160) -> str:
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "…"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a replay has compared, and the differences found."""

    suggestions: int
    decisions: int
    events: int
    differences: list[Difference]
