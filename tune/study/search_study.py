"""The one place that decides what becomes of each trial; a decision is stored first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from refkd.urls import Url
from tune import compat
from tune.config.space import Values
from tune.study.budget import progress, reached, trials_left, unbegun
from tune.study.environment import Environment
from tune.study.events import TrialLost
from tune.study.finishing import lacking, must_finish
from tune.study.foreign import MARK
from tune.study.pruning import RungPruner
from tune.study.request import TrialRequest
from tune.study.stored_study import StoredStudy
from tune.study.trial_events import (
    EpochEnded,
    Hashes,
    TrialAsked,
    TrialEnded,
    TrialPromoted,
    VideosScored,
)
from tune.study.untried import repeated
from tune.study.view import (
    ASKED,
    ENDED,
    FOREIGN,
    PROMOTION,
    RUNG,
    Action,
    TrialView,
    key_of,
    last_epoch,
)

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from tune.config.search_spec import SearchSpec

TAKEN_UP = "taken_up_at"
"""Attribute of a trial: the epoch at which it was started last, and how often."""
MAX_STARTS = 10
"""How often a trial is started at the same epoch before it counts as failed."""


class SearchStudy(StoredStudy):
    """A study opened, by URL or as an open storage, by the driver that holds its lease."""

    def __init__(self, spec: SearchSpec, storage: Url | str | BaseStorage) -> None:
        super().__init__(spec, storage)
        self._pruner = RungPruner(spec)
        self._live: dict[int, Trial] = {}
        running = [v for v in self.views() if v.state == "RUNNING" and v.paused_at is None]
        # Trials that were killed before their values were stored come first: the sampler then
        # sees what it saw before.
        running.sort(key=lambda v: (ASKED in v.attributes, v.number))
        self._interrupted = [v.number for v in running]

    def begin_launch(self, environment: Environment | None = None) -> None:
        """Record a launch, queue what is to be tried first, and end trials whose end is stored."""
        self.append(self.launches.begin(self.spec, environment))
        for point in self.spec.start_from:
            self.enqueue(point)
        views = self.views()
        for number in [n for n in self._interrupted if ENDED in views[n].attributes]:
            ended = views[number].attributes[ENDED]
            state = TrialState[ended["state"]]
            compat.tell(self.optuna, number, ended.get("values"), state)
            self._interrupted.remove(number)

    # One trial, from its request to its end ------------------------------------------------------

    def left(self) -> int:
        """Return how many trials run, or may still begin under the budget."""
        return trials_left(self.spec, self.views(), self.launches.wall_seconds)

    def ask(self) -> TrialRequest | None:
        """Return an interrupted trial, a promoted or a new one; None where there is none now."""
        self._note_lost()
        while self._interrupted:
            trial = self.adopt(self._interrupted.pop(0))
            fault = None if ASKED in self.facts(trial) else self.queue.fault(compat.frozen(trial))
            if fault is not None:
                self.queue.refuse(compat.frozen(trial), fault)
                continue
            if self.facts(trial).get(TAKEN_UP, [0, 0])[1] < MAX_STARTS:
                return self._hand_out(trial)
            self._live[trial.number] = trial
            self.fail(
                trial.number, f"its worker or driver died {MAX_STARTS} times before another epoch"
            )
        views = self.views()
        if self.stop_reason(views):
            return None
        wall = self.launches.wall_seconds
        if must_finish(self.spec, self._pruner, views, self._live, wall):
            return self.finish()
        promoted = self.promote()
        if promoted is not None:
            return promoted
        if unbegun(self.spec, views):
            return self.begin()
        return self.finish() if lacking(self.spec, self._pruner, views, wall) else None

    def begin(self) -> TrialRequest:
        """Return the next point in the queue, or a new trial, whatever the budget says."""
        self.holder.check()
        number = self.queue.take(self.trials(), self.views())
        if number is not None:
            return self._hand_out(self.adopt(number))
        return self._hand_out(compat.begin(self.optuna, {MARK: self._mark}))

    def may_ask_later(self) -> bool:
        """Return whether a trial runs now: it may be given back, or let another be promoted."""
        return bool(self._live)

    def record(
        self,
        number: int,
        epoch: int,
        metrics: Mapping[str, float],
        scored: Mapping[str, str] | None = None,
    ) -> Action:
        """Store an epoch, unless it is there, and return what is to become of the trial.

        `scored` are its pairs by video, where trials race (`VideosScored`).
        """
        if number not in self._live:  # another program has ended it
            return "stop"
        try:
            self.store(number, epoch, metrics)
            return self.decide(number, epoch, scored)
        except UpdateFinishedTrialError:
            self._note_lost()
            return "stop"

    def store(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Store an epoch of a live trial, unless the storage holds it already."""
        self.launches.touch_sometimes()
        trial = self._live[number]
        finite = {k: float(v) for k, v in metrics.items() if math.isfinite(v)}
        self.write(trial, EpochEnded(epoch=epoch, metrics=finite))
        name, *more = self.spec.objectives
        reported = more or name not in finite or epoch in compat.frozen(trial).intermediate_values
        if not reported:  # Optuna's own pruners and plots read it
            trial.report(finite[name], epoch)

    def decide(self, number: int, epoch: int, scored: Mapping[str, str] | None = None) -> Action:
        """Return what is to become of a live trial at an epoch; a new decision is stored first."""
        if not self._pruner.rungs.lies_at(epoch, lambda: self.views()[number]):
            return "go"
        trial = self._live[number]
        if scored:
            self.write(trial, VideosScored(epoch=epoch, scored=dict(scored)))
        known = self.facts(trial)
        stored = known.get(key_of(RUNG, epoch))
        if stored is not None:
            action: Action = stored["action"]
            promoted = action == "pause" and key_of(PROMOTION, epoch) in known
            return "go" if promoted else action
        self._note_lost()
        decision = self._pruner.decide(self.seen, number, epoch, self.views())
        if decision is None:
            return "go"
        self.write(trial, decision)
        return decision.action

    def end(self, number: int, final: Mapping[str, float], kept: Hashes = None) -> str | None:
        """Complete, prune or pause a trial at its last epoch; return its state, None if paused."""
        if self._is_lost(number):
            return FOREIGN
        action = self.decide(number, last_epoch(self.facts(self._live[number])))
        if action == "pause":
            self.pause(number)
            return None
        return self.prune(number) if action == "stop" else self.complete(number, final, kept)

    def complete(self, number: int, final: Mapping[str, float], students: Hashes = None) -> str:
        """End a trial with metrics and hashes of what it kept; FAIL where one is not finite."""
        missing = [n for n in self.spec.objectives if not math.isfinite(final.get(n, math.nan))]
        if missing:
            return self.fail(number, f"{missing[0]} of the kept weights is not finite")
        trial = self._live[number]
        values = [final[name] for name in self.spec.objectives]
        self.set(trial, "epochs", self.spec.epochs)
        kept = {k: v for k, v in final.items() if math.isfinite(v)}
        missed = self.constrain(trial, final)
        end = TrialEnded(
            state="COMPLETE", values=values, final=kept, violations=missed, students=students
        )
        return self._end(trial, end)

    def prune(self, number: int) -> str:
        """End as pruned a trial that the pruner stopped, or that is paused at a rung."""
        trial = self._live.get(number) or self.adopt(number)
        self.constrain(trial, self.views()[number].last)
        return self._end(trial, TrialEnded(state="PRUNED"))

    def pause(self, number: int) -> None:
        """Let a trial wait at its rung: it stays open until it is promoted or the search ends."""
        del self._live[number]
        self.forget(number)

    def give_back(self, number: int, *, blameless: bool = False) -> None:
        """Hand a trial whose worker died out again, before any other.

        A `blameless` start is none of those that a trial may have at an epoch.
        """
        if self._is_lost(number):
            return
        if blameless:
            epoch, times = self.facts(self._live[number])[TAKEN_UP]
            self.set(self._live[number], TAKEN_UP, [epoch, times - 1])
        self.pause(number)
        self._interrupted.append(number)

    def fail(self, number: int, reason: str) -> str:
        """End a trial that could not go on, with the reason."""
        if self._is_lost(number):
            return FOREIGN
        trial = self._live[number]
        self.set(trial, "reason", reason[:2000])
        return self._end(trial, TrialEnded(state="FAIL"))

    def close_paused(self) -> list[int]:
        """End the paused trials as pruned, once no promotion can come any more."""
        views = self.views()
        wall = self.launches.wall_seconds
        more = unbegun(self.spec, views) or lacking(self.spec, self._pruner, views, wall)
        if self._interrupted or self._live or (more and not self.stop_reason(views)):
            return []
        paused = [v.number for v in views if v.paused_at is not None]
        for number in paused:
            self.prune(number)
        return paused

    def take_over(self, other: SearchStudy) -> None:
        """Go on with the trials that run in another `SearchStudy` over the same storage."""
        self._live = other._live
        self._interrupted = []

    def stop_reason(self, views: Sequence[TrialView] | None = None) -> str | None:
        """Return which part of the budget is used up; None where the search may go on."""
        views = self.views() if views is None else views
        found = reached(self.spec, views, self.launches.wall_seconds)
        return None if found is None else found[1]

    def progress(self) -> tuple[int, float]:
        """Return how many epochs have been trained, and about how many there will be in all."""
        return progress(self.spec, self._pruner.rungs, self.views(), self.launches.wall_seconds)

    def _is_lost(self, number: int) -> bool:
        """Return whether another program has ended a trial."""
        if number in self._live and self.views()[number].state == FOREIGN:
            self._note_lost()
        return number not in self._live

    def _note_lost(self) -> None:
        """Record which trials another program has ended: from here on they decide nothing."""
        for view in self.views():
            if view.state == FOREIGN and ASKED in view.attributes:
                self.append(TrialLost(number=view.number))
                self._live.pop(view.number, None)

    def _hand_out(self, trial: Trial) -> TrialRequest:
        known = self.facts(trial)
        attempt = int(known.get("attempt", 0)) + 1
        self.set(trial, "attempt", attempt)
        reached = last_epoch(known)
        before, times = known.get(TAKEN_UP, [reached, 0])
        self.set(trial, TAKEN_UP, [reached, times + 1 if before == reached else 1])
        # One that was begun keeps its values, also where the space has changed since.
        if ASKED in known:
            asked: Values = known[ASKED]["values"]
            values = {**self.launches.once_fixed(self.spec.space, asked), **asked}
        else:
            compat.forget_values(trial)
            values = self.suggest(trial)
            repeats = repeated(self.spec, self.views(), trial.number, values)
            self.write(trial, TrialAsked(values=values, repeats=repeats or None))
        self._live[trial.number] = trial
        return TrialRequest.of(trial.number, values, attempt, self.facts(trial))

    def promote(self) -> TrialRequest | None:
        """Return the paused trial that ranks best, if it may go on; None where none may."""
        return self._resume(self._pruner.promotion)

    def finish(self) -> TrialRequest | None:
        """Return the best paused trial of all, to be trained to its end; None without any."""
        return self._resume(self._pruner.finisher)

    def _resume(
        self, choose: Callable[[Sequence[TrialView]], tuple[int, TrialPromoted] | None]
    ) -> TrialRequest | None:
        if not self._pruner.promotes:
            return None
        self._note_lost()
        chosen = choose(self.views())
        if chosen is None:
            return None
        number, event = chosen
        trial = self.adopt(number)
        self.write(trial, event)
        return self._hand_out(trial)

    def _end(self, trial: Trial, event: TrialEnded) -> str:
        """Store the end of a trial, then end it in Optuna; return its state."""
        self.write(trial, event)
        compat.tell(self.optuna, trial, event.values, TrialState[event.state])
        self._live.pop(trial.number, None)
        self.forget(trial.number)
        return event.state
