"""Optuna's pruners asked on a copy in memory, made of a study's events alone.

A pruner such as successive halving writes what it found into the study while it decides. On the
study itself, a driver that dies between that and the decision's own event would decide otherwise
when it is started again, and so would a replay. On the copy nothing is left behind: what the
pruner wrote becomes part of the event.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna import Study
from optuna.storages import InMemoryStorage

from refkd.scoped import log_levels
from tune import compat

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

    from tune.study.view import TrialView

WRITTEN = "written"
"""In a stored decision, the attributes that the pruner gave the trial."""


def ask(
    pruner: BasePruner, study: Study, number: int, views: Sequence[TrialView], objective: str
) -> tuple[bool, dict[str, Any]]:
    """Return whether a pruner stops a trial, and the attributes that it would store.

    `views` are of all trials of the study; `objective` is the metric that they report, one value
    an epoch.
    """
    rehearsed = _copy(study, views, objective)
    trial = rehearsed.get_trials(deepcopy=True)[number]
    stops = pruner.prune(rehearsed, trial)
    after = compat.internal_attributes(rehearsed.get_trials(deepcopy=False)[number])
    known = compat.internal_attributes(trial)
    return stops, {key: value for key, value in after.items() if key not in known}


def _copy(study: Study, views: Sequence[TrialView], objective: str) -> Study:
    storage = InMemoryStorage()
    with log_levels({"optuna": logging.WARNING}):
        study_id = storage.create_new_study(study.directions, study.study_name)
    for trial in _told(study.get_trials(deepcopy=False), views, objective):
        storage.create_new_trial(study_id, template_trial=trial)
    return Study(study.study_name, storage)


def _told(
    trials: Sequence[FrozenTrial], views: Sequence[TrialView], objective: str
) -> list[FrozenTrial]:
    """Return the trials with what their events say of them, in place of what was reported."""
    copies = []
    for trial, seen in zip(trials, views, strict=True):
        told = copy.copy(trial)
        told.intermediate_values = {
            epoch: metrics[objective]
            for epoch, metrics in seen.curve.items()
            if objective in metrics
        }
        written: dict[str, Any] = {}
        for verdict in seen.decisions.values():
            written |= verdict.get(WRITTEN, {})
        compat.set_internal_attributes(told, written)
        copies.append(told)
    return copies
