"""Points that wait in a study: those of its file and what any program has enqueued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from tune import compat
from tune.config.space import misfit
from tune.study.foreign import MARK, QUEUED, REFUSED, reserved
from tune.study.view import CONTINUES, FOREIGN, RETRIES, TrialView

if TYPE_CHECKING:
    from optuna import Study

    from tune.config.space import Dimension


class Queue:
    """Takes points from a study's queue; one that cannot be tried ends as failed instead.

    A key that a point lacks is left to the sampler. All other faults are no point of the space:
    to change a value in silence would try what nobody asked for.
    """

    def __init__(self, study: Study, space: Mapping[str, Dimension], mark: str | None) -> None:
        self._study, self._space, self._mark = study, space, mark
        self.on_refusal: Callable[[int, str], None] = lambda number, reason: None
        """Called with a trial that is not tried, and why."""

    def take(self, trials: Sequence[FrozenTrial], views: Sequence[TrialView]) -> int | None:
        """Return the number of the first point that can be tried, now running; None without."""
        for trial, known in zip(trials, views, strict=True):
            if trial.state != TrialState.WAITING or known.state == FOREIGN:
                continue
            fault = self.fault(trial)
            if fault is None:
                compat.set_attribute(self._study, trial, MARK, self._mark)
            if not compat.take_from_queue(self._study, trial):  # another program was faster
                compat.set_attribute(self._study, trial, MARK, None)
            elif fault is None:
                return trial.number
            else:
                self.refuse(trial, fault)
        return None

    def fault(self, trial: FrozenTrial) -> str | None:
        """Return why an enqueued trial cannot be tried; None where it can."""
        own = self._mark is None or trial.user_attrs.get(QUEUED) == self._mark
        begun = trial.state == TrialState.RUNNING and trial.user_attrs.get(MARK) == self._mark
        allowed = {CONTINUES, RETRIES, QUEUED} if own else set()
        for key in () if begun else trial.user_attrs:  # killed before its values were stored
            if reserved(key) and key not in allowed and not (own and key.startswith("inherited")):
                return f"enqueued with the attribute {key!r}, which the search itself writes"
        point = compat.enqueued_params(trial)
        again = own and not {CONTINUES, RETRIES}.isdisjoint(trial.user_attrs)
        if point is None or again:
            return None  # it keeps the values of another, whatever the space is now
        wrong = misfit(self._space, point)
        return None if wrong is None else f"enqueued with {wrong}"

    def refuse(self, trial: FrozenTrial, reason: str) -> None:
        """End a trial that was never begun as failed; it takes nothing of the budget."""
        compat.set_attribute(self._study, trial, REFUSED, reason[:2000])
        compat.tell(self._study, trial.number, None, TrialState.FAIL)
        self.on_refusal(trial.number, reason)

    def put(self, values: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Enqueue a trial with attributes that the search itself writes."""
        marked = {**attributes, QUEUED: self._mark}
        self._study.enqueue_trial(dict(values), user_attrs=marked)
