"""Asking a pruner of Optuna's, on a copy of the study in memory that its events alone make.

Such a pruner may write to the study while it decides. If it wrote to the study itself, a driver
that dies before the decision's event is stored would decide otherwise when it is started again,
and so would a replay. What the pruner wrote to the copy becomes part of the event.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage

from refkd.scoped import log_levels
from tune import compat
from tune.study.trial_events import RungJudged
from tune.study.view import FOREIGN, TrialView

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from tune.config.settings import Pruning

OPTUNA_PRUNERS: Mapping[str, type[BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
}


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        pruner = _pruner(pruning, epochs)
    copied = _copy(study, views, objective)
    asked = copied.get_trials(deepcopy=True)[trial]
    stops = pruner.prune(copied, asked)
    after = compat.internal_attributes(copied.get_trials(deepcopy=False)[trial])
    known = compat.internal_attributes(asked)
    written = {key: value for key, value in after.items() if key not in known}
    return RungJudged(epoch=epoch, action="stop" if stops else "go", written=written or None)


def _pruner(pruning: Pruning, epochs: int) -> BasePruner:
    options = dict(pruning.options)
    if pruning.name == "percentile":
        options.setdefault("percentile", 50.0)
    if pruning.name in ("median", "percentile"):
        options.setdefault("n_warmup_steps", pruning.min_epochs - 1)
    else:
        options.setdefault("min_resource", pruning.min_epochs)
        options.setdefault("reduction_factor", pruning.reduction)
    if pruning.name == "hyperband":
        options.setdefault("max_resource", epochs)
    return OPTUNA_PRUNERS[pruning.name](**options)


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
