"""Replay: run a study's recorded events through the code that made them, and compare."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune import compat
from tune.audit.difference import Difference, Replay, altered, compare
from tune.study.event_log import StoredEvent, events
from tune.study.events import TrialLost, teachers_of
from tune.study.foreign import recognised
from tune.study.launch import Launch, read_launches
from tune.study.search_study import SearchStudy
from tune.study.trial_events import (
    EpochEnded,
    RungJudged,
    TrialAsked,
    TrialEnded,
    TrialPromoted,
    VideosScored,
    trial_event,
)
from tune.study.view import ASKED, CONTINUES, PROMOTION, RETRIES, RUNG, view


def replay(study: optuna.Study) -> Replay:
    """Replay a whole study; the first difference ends it, since all after it would follow."""
    trials = study.get_trials(deepcopy=False)
    own = recognised(map(view, trials), study.user_attrs)
    whole = events(own, study.user_attrs)
    ordered = [e for e in whole if e.number is not None or e.key.startswith(TrialLost.PREFIX)]
    differences = list(altered(trials, study.user_attrs))
    if not differences:
        differences = _Rebuilt(study, trials).follow(ordered)
    return Replay(
        suggestions=sum(event.key == ASKED for event in ordered),
        decisions=sum(event.key.startswith((RUNG, PROMOTION)) for event in ordered),
        events=len(ordered),
        differences=differences,
    )


class _Rebuilt:
    """A study in memory that follows the events of another."""

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        self._trials = {trial.number: trial for trial in trials}
        self._launches = {launch.number: launch for launch in read_launches(study.user_attrs)}
        self._teachers = list(teachers_of(study.user_attrs).values())
        self._storage = InMemoryStorage()
        self._study: SearchStudy | None = None

    def follow(self, ordered: Sequence[StoredEvent]) -> list[Difference]:
        """Return the first difference, or none."""
        launch = 0
        for event in ordered:
            if event.stamp.launch != launch or self._study is None:
                launch = event.stamp.launch
                self._study = self._enter(self._launches[launch])
            found = self._apply(self._study, event)
            if found is not None:
                return [found]
        return []

    def _enter(self, launch: Launch) -> SearchStudy:
        """Take up the space, sampler and pruning of a launch."""
        study = SearchStudy(launch.spec, self._storage)
        study.launches.number = launch.number
        if self._study is not None:
            study.take_over(self._study)
            return study
        for teacher in self._teachers:
            study.append(teacher)
        return study

    def _apply(self, study: SearchStudy, stored: StoredEvent) -> Difference | None:
        number = stored.number
        if number is None:
            lost = TrialLost.read(stored.key, stored.content)
            compat.tell(study.optuna, lost.number, None, TrialState.FAIL)
            study.append(lost)
            return None
        event = trial_event(stored.key, stored.content)
        match event:
            case TrialAsked():
                asked = self._ask(study, number)
                if asked != number:
                    return Difference(number, "its place in line", number, asked)
            case EpochEnded():
                study.store(number, event.epoch, event.metrics)
            case VideosScored():
                study.write(study.adopt(number), event)
            case RungJudged():
                if study.decide(number, event.epoch) == "pause":
                    study.pause(number)
            case TrialPromoted():
                ask = study.finish() if event.finish else study.promote()
                if ask is None or ask.number != number:
                    who = "nobody" if ask is None else f"trial {ask.number}"
                    what = f"{stored.key}, whom it promotes"
                    return Difference(number, what, "this trial", who)
            case TrialEnded(state="COMPLETE"):
                study.complete(number, event.final or {}, event.students)
            case TrialEnded(state="PRUNED"):
                study.prune(number)
            case TrialEnded():
                study.fail(number, str(view(self._trials[number]).reason))
        return compare(study, number, stored)

    def _ask(self, study: SearchStudy, number: int) -> int:
        original = self._trials[number]
        for _foreign in range(len(study.trials()), number):
            study.optuna.add_trial(create_trial(state=TrialState.FAIL))
        line = compat.enqueued_params(original)
        if line is not None:
            inherited = {
                key: value
                for key, value in original.user_attrs.items()
                if key in (CONTINUES, RETRIES) or key.startswith("inherited")
            }
            study.queue.put(line, inherited)
        return study.begin().number
