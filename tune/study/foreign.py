"""Trials that somebody else put into a study, or ended: they are shown, and decide nothing.

A trial of the search bears the study's mark from the moment it is made or taken from the queue,
ends with an event, and holds its first event's place in the order alone. Whatever else a storage
holds is foreign: a trial of `Study.add_trial`, one that another program asked for, a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refkd.errors import RefKDError
from tune import compat
from tune.config.search_spec import signs_of
from tune.study.view import (
    ASKED,
    CONTINUES,
    ENDED,
    ENDED_STATES,
    FOREIGN,
    RETRIES,
    STAMP,
    TrialView,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tune.config.space import Dimension

MARK = "ours"
"""Attribute of a study, and of its own trials: the same random text."""
QUEUED = "queued"
"""Attribute with that text of a trial that the search itself put in the queue."""
REFUSED = "refused"
"""Attribute of a point in the queue that was ended instead of begun: why."""


class Recogniser:
    """Tells a study's own trials, which it is shown in the order of their numbers."""

    def __init__(self, mark: str | None, signs: Sequence[float] = ()) -> None:
        """`mark` is the study's; None where it was begun before trials were marked.

        `signs` are those of its objectives.
        """
        self._mark = mark
        self._signs = signs if min(signs, default=1.0) < 0 else ()
        self._first: dict[int, int] = {}
        """Trial by the place of its first event."""

    def __call__(self, found: TrialView) -> TrialView:
        """Return a trial as the search regards it."""
        held = found.attributes
        if found.state == "WAITING" and not found.values:
            queued = self._mark is None or held.get(QUEUED) == self._mark
            return found if queued and ASKED not in held else replace(found, attributes={})
        if not self._begun_here(found):
            if found.state == "FAIL" and REFUSED in held:
                return replace(found, values={}, attributes={"reason": str(held[REFUSED])})
            reason = f"another program put it here, as {found.state}"
            return TrialView(number=found.number, state=FOREIGN, attributes={"reason": reason})
        if found.state in ENDED_STATES and ENDED not in held:
            reason = f"another program ended it, as {found.state}"
            return replace(
                found, state=FOREIGN, objectives=None, attributes={**held, "reason": reason}
            )
        return replace(found, signs=self._signs) if self._signs and found.objectives else found

    def _begun_here(self, found: TrialView) -> bool:
        held = found.attributes
        if self._mark is not None and held.get(MARK) != self._mark:
            return False
        if ASKED not in held:
            return found.state == "RUNNING" or ENDED in held
        stamp = held[ASKED].get(STAMP) if isinstance(held[ASKED], dict) else None
        if not isinstance(stamp, list) or not stamp:
            return False
        return self._first.setdefault(stamp[0], found.number) >= found.number


def recognised(found: Iterable[TrialView], attributes: Mapping[str, Any]) -> list[TrialView]:
    """Return the trials of a study with some attributes as the search regards them."""
    signs = signs_of(attributes.get("objectives", ()), attributes.get("minimize", ()))
    return list(map(Recogniser(attributes.get(MARK), signs), found))


def check_kinds(
    name: str,
    space: Mapping[str, Dimension],
    trials: Iterable[FrozenTrial],
    views: Iterable[TrialView],
) -> None:
    """Raise `RefKDError` where a foreign trial keeps a study from storing values of its space.

    Optuna holds a parameter to the kind of its first trial that has it.
    """
    first: set[str] = set()
    for trial, known in zip(trials, views, strict=True):
        for key in trial.distributions.keys() & space.keys() - first:
            first.add(key)
            other = trial.distributions[key]
            if known.state == FOREIGN and not compat.same_kind(other, space[key].distribution()):
                raise RefKDError(
                    f"study {name!r}: trial {trial.number}, which another program put there, has "
                    f"made {key} a {type(other).__name__} of another kind than the space's "
                    f"{space[key].label}, and Optuna takes no other; give the study another name"
                )


def reserved(key: str) -> bool:
    """Return whether the search itself writes an attribute of trials."""
    return key in _KEYS or key.startswith(_PREFIXES)


_KEYS = {ASKED, ENDED, CONTINUES, QUEUED, "attempt", "taken_up_at", "epochs", "reason"}
_KEYS |= {"violations", RETRIES}
_PREFIXES = ("epoch:", "scored:", "rung:", "promotion:", "inherited")
