"""The study: the one place that decides what a search knows and what became of each trial.

A decision is stored before it is carried out, so a crash in between repeats it instead of taking
another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import Trial, TrialState

from tune.config.space import Values, suggest
from tune.study.budget import reached, trials_left, unbegun
from tune.study.environment import Environment
from tune.study.event_log import Chain
from tune.study.events import EpochEnded, RungJudged, TrialAsked, TrialEnded, TrialPromoted
from tune.study.pruning import Decision, RungPruner
from tune.study.stored_study import StoredStudy
from tune.study.view import (
    ASKED,
    CONTINUES,
    ENDED,
    EPOCH,
    PROMOTION,
    RUNG,
    Action,
    TrialView,
    key_of,
    last_epoch,
    view,
)

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from tune.config.study_file import StudyFile

MAX_STARTS = 10
"""How often a trial is taken up at the same epoch before it counts as failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRequest:
    """What a worker is to train."""

    number: int
    values: Values
    attempt: int
    """How often this trial was handed out, this time included."""
    continues: int | None = None
    """The trial whose checkpoint this one begins from, where a study grew in epochs."""
    inherited: int = 0
    """Epochs that trial had."""


class SearchStudy:
    """A study opened by the driver that holds its lease.

    `storage` is a URL, or an open storage such as the simulator's.
    """

    def __init__(
        self, file: StudyFile, storage: str | BaseStorage, *, chain: Chain | None = None
    ) -> None:
        self.file = file
        self.stored = StoredStudy(file, storage, chain=chain)
        self.launches = self.stored.launches
        self._judge = RungPruner(file.pruning, file.objectives, file.training.epochs)
        self._fixed = file.fixed()
        self._live: dict[int, Trial] = {}
        running = [t for t in self.stored.trials() if t.state == TrialState.RUNNING]
        # Whoever was killed before its values were stored comes first: the sampler then sees what
        # it saw before.
        waiting = sorted(
            (t for t in running if view(t).paused_at is None),
            key=lambda t: (ASKED in t.user_attrs, t.number),
        )
        self._interrupted = [t.number for t in waiting]

    @property
    def optuna(self) -> optuna.Study:
        """The Optuna study itself."""
        return self.stored.optuna

    def views(self) -> list[TrialView]:
        """Return all trials as the storage holds them."""
        return self.stored.views()

    def bind(self, key: str, value: Any) -> None:
        """Record a fact that no later launch may change; `RefKDError` where it differs."""
        self.stored.bind(key, value)

    def note(self, key: str, value: Any) -> None:
        """Record a fact that may change from launch to launch."""
        self.stored.note(key, value)

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Put a point in line, unless the study has tried it, is about to, or has no room."""
        self.stored.enqueue(values)

    def begin_launch(self, environment: Environment | None = None) -> None:
        """Record a launch; first end whoever was killed between its end and telling Optuna.

        The sampler then sees it as ended, as it would have without the kill.
        """
        self.stored.begin_launch(environment)
        trials = self.stored.trials()
        for number in [n for n in self._interrupted if ENDED in trials[n].user_attrs]:
            ended = trials[number].user_attrs[ENDED]
            self.stored.tell(number, TrialState[ended["state"]], ended.get("values"))
            self._interrupted.remove(number)

    # One trial, from ask to tell ------------------------------------------------------------

    def left(self) -> int:
        """Return how many trials are still to be run or finished under the budget."""
        return trials_left(self.file, self.views(), self.launches.wall_seconds)

    def ask(self) -> TrialRequest | None:
        """Return the next trial: interrupted ones, then promotions, then new ones.

        None where there is nothing to hand out now; `may_ask_later` tells whether that can change.
        """
        while self._interrupted:
            trial = self.stored.adopt(self._interrupted.pop(0))
            if self.stored.facts(trial).get("taken_up_at", [0, 0])[1] < MAX_STARTS:
                return self._hand_out(trial)
            self._live[trial.number] = trial
            self.fail(
                trial.number, f"its worker or driver died {MAX_STARTS} times before another epoch"
            )
        views = self.views()
        if self._stopped(views):
            return None
        promoted = self.promote()
        if promoted is not None:
            return promoted
        return self.begin() if unbegun(self.file, views) else None

    def begin(self) -> TrialRequest:
        """Return a new trial, or the next point in line, whatever the budget says."""
        return self._hand_out(self.stored.optuna.ask())

    def may_ask_later(self) -> bool:
        """Return whether a trial runs now: it may be given back, or let another be promoted."""
        return bool(self._live)

    def record(self, number: int, epoch: int, metrics: Mapping[str, float]) -> Action:
        """Store an epoch and return what is to become of the trial.

        An epoch the storage already holds is left as it is, and so is a decision.
        """
        self.store(number, epoch, metrics)
        return self.decide(number, epoch)

    def store(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Store an epoch of a live trial, unless the storage holds it already."""
        self.launches.touch_sometimes()
        trial = self._live[number]
        key = key_of(EPOCH, epoch)
        finite = {k: float(v) for k, v in metrics.items() if math.isfinite(v)}
        if key not in self.stored.facts(trial):
            self.stored.write(trial, EpochEnded(epoch=epoch, metrics=finite))
        if len(self.file.objectives) == 1 and self.file.objectives[0] in finite:
            self.stored.report(trial, finite[self.file.objectives[0]], epoch)

    def decide(self, number: int, epoch: int) -> Action:
        """Return what is to become of a live trial at an epoch; a new decision is stored first."""
        if epoch not in self._judge.rungs():
            return "go"
        trial = self._live[number]
        key = key_of(RUNG, epoch)
        known = self.stored.facts(trial)
        stored = known.get(key)
        if stored is not None:
            paused = stored["action"] == "pause"
            promoted = key_of(PROMOTION, epoch) in known
            action: Action = "go" if paused and promoted else stored["action"]
            return action
        verdict = self._verdict(trial, epoch)
        if verdict is None:
            return "go"
        self.stored.write(trial, RungJudged(epoch=epoch, **verdict))
        decided: Action = verdict["action"]
        return decided

    def complete(self, number: int, final: Mapping[str, float]) -> str:
        """End a trial whose epochs are all done with the metrics of what it kept.

        Returns its state: FAIL where an objective is missing or not finite.
        """
        missing = [n for n in self.file.objectives if not math.isfinite(final.get(n, math.nan))]
        if missing:
            return self.fail(number, f"{missing[0]} of the kept weights is not finite")
        trial = self._live[number]
        values = [final[name] for name in self.file.objectives]
        self.stored.set(trial, "epochs", self.file.training.epochs)
        kept = {k: v for k, v in final.items() if math.isfinite(v)}
        missed = self.stored.constrain(trial, final)
        self.stored.write(
            trial, TrialEnded(state="COMPLETE", values=values, final=kept, violations=missed)
        )
        self.stored.tell(trial, TrialState.COMPLETE, values)
        self._let_go(number)
        return "COMPLETE"

    def prune(self, number: int) -> str:
        """End a trial that the pruner stopped."""
        self._end_pruned(self._live[number])
        self._let_go(number)
        return "PRUNED"

    def pause(self, number: int) -> None:
        """Let a trial wait at its rung: it stays open until it is promoted or the search ends."""
        self._let_go(number)

    def give_back(self, number: int) -> None:
        """Hand a trial whose worker died out again, before any other."""
        self._let_go(number)
        self._interrupted.append(number)

    def fail(self, number: int, reason: str) -> str:
        """End a trial that could not go on, with the reason."""
        trial = self._live[number]
        self.stored.set(trial, "reason", reason[:2000])
        self.stored.write(trial, TrialEnded(state="FAIL"))
        self.stored.tell(trial, TrialState.FAIL)
        self._let_go(number)
        return "FAIL"

    def close_paused(self) -> list[int]:
        """End as pruned whoever still waits for a promotion that will never come."""
        views, ended = self.views(), list[int]()
        going_on = unbegun(self.file, views) > 0 and not self._stopped(views)
        if self._interrupted or self._live or going_on:
            return ended
        for waiting in [v for v in views if v.paused_at is not None]:
            self.close(waiting.number)
            ended.append(waiting.number)
        return ended

    def close(self, number: int) -> None:
        """End a trial that waits at a rung as pruned."""
        self._end_pruned(self.stored.adopt(number))
        self.stored.forget(number)

    def take_over(self, other: SearchStudy) -> None:
        """Go on with the trials that run under another view of the same storage."""
        self._live = other._live
        self._interrupted = []

    def is_live(self, number: int) -> bool:
        """Return whether a trial of this launch runs."""
        return number in self._live

    def stop_reason(self) -> str | None:
        """Return which part of the budget is used up, None where the search may go on."""
        return self._stopped(self.views())

    # --------------------------------------------------------------------------------------

    def _let_go(self, number: int) -> None:
        del self._live[number]
        self.stored.forget(number)

    def _hand_out(self, trial: Trial) -> TrialRequest:
        known = self.stored.facts(trial)
        attempt = int(known.get("attempt", 0)) + 1
        self.stored.set(trial, "attempt", attempt)
        reached = last_epoch(known)
        before, times = known.get("taken_up_at", [reached, 0])
        self.stored.set(trial, "taken_up_at", [reached, times + 1 if before == reached else 1])
        # One that was begun keeps its values, also where the space has changed since.
        asked: Values | None = known[ASKED]["values"] if ASKED in known else None
        if asked is None:
            values = suggest(self.file.space, trial, self._fixed)
            self.stored.write(trial, TrialAsked(values=values))
        else:
            values = {**self.launches.once_fixed(self.file.space, asked), **asked}
        self._live[trial.number] = trial
        return TrialRequest(
            number=trial.number,
            values=values,
            attempt=attempt,
            continues=known.get(CONTINUES),
            inherited=int(known.get("inherited", 0)),
        )

    def promote(self) -> TrialRequest | None:
        """Return the paused trial that stands best, if it may go on; None for nobody."""
        if not self._judge.promotes:
            return None
        chosen = self._judge.promotion(self.views())
        if chosen is None:
            return None
        number, rung, standing = chosen
        trial = self.stored.adopt(number)
        self.stored.write(trial, TrialPromoted(epoch=rung, **standing))
        return self._hand_out(trial)

    def _verdict(self, trial: Trial, epoch: int) -> Decision | None:
        if self._judge.asks_optuna():
            return self._judge.optuna_verdict(self.stored.optuna, trial.number, self.views())
        return self._judge.verdict(trial.number, epoch, self.views())

    def _end_pruned(self, trial: Trial) -> None:
        self.stored.constrain(trial, self.stored.view(trial).last)
        self.stored.write(trial, TrialEnded(state="PRUNED"))
        self.stored.tell(trial, TrialState.PRUNED)

    def _stopped(self, views: list[TrialView]) -> str | None:
        return reached(self.file, views, self.launches.wall_seconds)
