"""Checks for what was changed in or removed from a study's storage behind the search's back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tune.audit.study import COPY, Finding
from tune.study.event_log import breaks, events
from tune.study.events import TrialLost
from tune.study.snapshot import StudySnapshot
from tune.study.view import ASKED, FOREIGN

SHOWN = 10
"""Breaks of the order that are named one by one."""


def removed(study: StudySnapshot) -> Iterator[Finding]:
    """Trials and last events that the storage held once: Optuna never removes any."""
    numbers = [view.number for view in study.trials]
    begun = max((one.trials for one in study.launches), default=0)
    for number in sorted(set(range(max(begun, len(numbers)))) - set(numbers)):
        yield Finding("removed", f"trial {number} is gone from the storage", COPY)
    last = max((e.stamp.place for e in events(study.trials, study.attributes)), default=0)
    noted = max((one.events for one in study.launches), default=0)
    if noted > last:
        what = f"the last {noted - last} of {noted} events of the study are gone"
        yield Finding("removed", what, COPY)


def order(study: StudySnapshot) -> Iterator[Finding]:
    """Stored events that were changed or removed."""
    for found in islice(breaks(study.trials, study.attributes), SHOWN):
        event = found.event
        where = "the study" if event.number is None else f"trial {event.number}"
        what = (
            f"{where}: {event.key!r} does not follow from what was stored before it; something in "
            "the study was changed afterwards"
        )
        if found.gone:
            what = f"{where}: of the events before {event.key!r}, {found.gone} are gone"
        yield Finding("order", what, COPY)


def edited(study: StudySnapshot) -> Iterator[Finding]:
    """Trials that hold other values, or reports, than their events say."""
    for view in study.trials:
        asked = view.attributes.get(ASKED)
        if asked is not None and asked["values"] != view.values:
            what = f"trial {view.number}: holds {view.values}, it was begun with {asked['values']}"
            yield Finding("values", what, COPY)
    if len(study.objectives) != 1:  # Optuna takes no reports of several objectives
        return
    curves = {view.number: view.curve for view in study.trials if view.state != FOREIGN}
    for trial in study.optuna.get_trials(deepcopy=False):
        curve, name = curves.get(trial.number, {}), study.objectives[0]
        wrong = [
            epoch
            for epoch, value in trial.intermediate_values.items()
            if trial.number in curves and curve.get(epoch, {}).get(name) != value
        ]
        if wrong:
            where = ", ".join(map(str, wrong))
            what = f"trial {trial.number}: what Optuna holds of epoch {where} is not what was sent"
            yield Finding("values", what, COPY)


def taken(study: StudySnapshot) -> Iterator[Finding]:
    """Trials of the search that another program ended, which no driver has noticed yet."""
    for view in study.trials:
        lost = TrialLost(number=view.number).key in study.attributes
        if view.state == FOREIGN and ASKED in view.attributes and not lost:
            what = f"trial {view.number}: {view.reason}"
            remedy = f"run `refkd search {study.path}`: it goes on without the trial"
            yield Finding("outcome", what, remedy)


TAMPERING_CHECKS = (removed, order, edited, taken)
