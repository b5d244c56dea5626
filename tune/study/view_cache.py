"""What was derived from trials, made anew for those alone that have changed.

Optuna replaces a trial it holds in memory whenever something is written to it: the same object
holds the same facts. So what was derived from it is kept beside it, for ever where the trial has
ended, and the storage stays the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING

from tune import compat
from tune.study.view import TrialView, view

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class ViewCache:
    """The views of a study's trials, as its driver last saw them."""

    def __init__(self) -> None:
        self._trials: list[FrozenTrial] = []
        self._views: list[TrialView] = []

    def views(self, trials: list[FrozenTrial]) -> list[TrialView]:
        """Return the views of all trials of the study, given in the order of their numbers."""
        for number in changed(trials, self._trials):
            self._views[number : number + 1] = [view(trials[number])]
        self._trials = trials.copy()
        return self._views.copy()


class Points:
    """The objectives at some epochs of every trial that holds them, failed ones left out."""

    def __init__(self, epochs: Sequence[int], objectives: Sequence[str]) -> None:
        self._objectives = objectives
        self._views: Sequence[TrialView] = []
        self._at: dict[int, dict[int, list[float]]] = {epoch: {} for epoch in epochs}

    def at(self, epoch: int, views: Sequence[TrialView]) -> dict[int, list[float]]:
        """Return the objectives at an epoch by trial; `views` are of all trials of the study."""
        for number in changed(views, self._views):
            self._place(views[number])
        self._views = views
        return self._at[epoch]

    def _place(self, seen: TrialView) -> None:
        for epoch, points in self._at.items():
            metrics = seen.curve.get(epoch, {})
            points.pop(seen.number, None)
            if seen.state != "FAIL" and all(name in metrics for name in self._objectives):
                points[seen.number] = [metrics[name] for name in self._objectives]


def changed(now: Sequence[object], before: Sequence[object]) -> Iterator[int]:
    """Yield the places at which another object stands than before, new ones last.

    >>> kept = object()
    >>> list(changed([kept, object(), object()], [kept, object()]))
    [1, 2]
    """
    yield from compress(range(len(before)), map(compat.trial_changed, now, before))
    yield from range(len(before), len(now))
