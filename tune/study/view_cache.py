"""The views of a study's trials, of which only those are read again that have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING

from tune import compat
from tune.study.view import TrialView, view

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class ViewCache:
    """The views of a study's trials; Optuna makes a new object of each trial that changes."""

    def __init__(self) -> None:
        self._trials: list[FrozenTrial] = []
        self._views: list[TrialView] = []

    def views(self, trials: list[FrozenTrial]) -> list[TrialView]:
        """Return the views of all trials of the study, given in the order of their numbers."""
        for number in changed(trials, self._trials):
            self._views[number : number + 1] = [view(trials[number])]
        self._trials = trials.copy()
        return self._views.copy()


def changed(now: Sequence[object], before: Sequence[object]) -> Iterator[int]:
    """Yield the indices at which `now` holds another object than `before`, new ones last.

    >>> kept = object()
    >>> list(changed([kept, object(), object()], [kept, object()]))
    [1, 2]
    """
    yield from compress(range(len(before)), map(compat.trial_changed, now, before))
    yield from range(len(before), len(now))
