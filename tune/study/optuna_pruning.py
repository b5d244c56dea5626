"""Asking a pruner of Optuna's, on a copy of the study in memory that its events alone make.

Such a pruner may write to the study while it decides. If it wrote to the study itself, a driver
that dies before the decision's event is stored would decide otherwise when it is started again,
and so would a replay. What the pruner wrote to the copy becomes part of the event.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage

from refkd.scoped import log_levels
from tune import compat
from tune.config.pruners import make_pruner
from tune.study.trial_events import RungJudged
from tune.study.view import FOREIGN, TrialView

if TYPE_CHECKING:
    from tune.config.settings import Pruning


def ask_optuna(
    pruning: Pruning,
    objective: str,
    epochs: int,
    study: optuna.Study,
    trial: int,
    epoch: int,
    views: Sequence[TrialView],
) -> RungJudged:
    """Return what the pruner decides about a trial at an epoch; `epochs` are a student's whole."""
    pruner = make_pruner(pruning, epochs)
    copied = _copy(study, views, objective)
    asked = copied.get_trials(deepcopy=True)[trial]
    stops = pruner.prune(copied, asked)
    after = compat.internal_attributes(copied.get_trials(deepcopy=False)[trial])
    known = compat.internal_attributes(asked)
    written = {key: value for key, value in after.items() if key not in known}
    return RungJudged(epoch=epoch, action="stop" if stops else "go", written=written or None)


def _copy(study: optuna.Study, views: Sequence[TrialView], objective: str) -> optuna.Study:
    """Return a copy in memory whose trials report `objective` as their events have it."""
    storage = InMemoryStorage()
    with log_levels({"optuna": logging.WARNING}):
        study_id = storage.create_new_study(study.directions, study.study_name)
    for trial, view in zip(study.get_trials(deepcopy=False), views, strict=True):
        copied = copy.copy(trial)
        if view.state != FOREIGN:
            copied.intermediate_values = {
                epoch: metrics[objective]
                for epoch, metrics in view.curve.items()
                if objective in metrics
            }
            written: dict[str, Any] = {}
            for decision in view.decisions.values():
                written |= decision.get("written", {})
            compat.set_internal_attributes(copied, written)
        storage.create_new_trial(study_id, template_trial=copied)
    return optuna.Study(study.study_name, storage)
