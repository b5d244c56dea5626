"""Optuna's pruners with the options of a study file, checked against what each one takes."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from refkd.scoped import log_levels
from tune.config.options import option_fault

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from tune.config.settings import Pruning

OPTUNA_PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}
"""Optuna's class for each name."""


def make_pruner(pruning: Pruning, epochs: int) -> BasePruner:
    """Return the pruner of a study whose students have so many epochs."""
    from optuna.exceptions import ExperimentalWarning

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        made: BasePruner = _class_of(pruning)(**options)
    return made


def pruner_fault(pruning: Pruning, epochs: int) -> tuple[str | None, str] | None:
    """Return the option that is wrong, if one alone is, and why; None where all is well."""
    given = {"percentile": 50.0, **pruning.options}  # as `make_pruner` gives it
    options = given if pruning.name == "percentile" else pruning.options
    found = option_fault(options, _class_of(pruning).__init__, pruning.name)
    if found is not None:
        return found
    low = pruning.options.get("min_resource", pruning.min_epochs)
    high = pruning.options.get("max_resource", epochs)
    bounded = pruning.name == "hyperband" and isinstance(low, int) and isinstance(high, int)
    if bounded and high < low:
        return "max_resource", f"{high} is below min_resource={low}; give a higher one"
    if pruning.options.get("reduction_factor", 2) < 2:
        return "reduction_factor", f"give at least 2, not {pruning.options['reduction_factor']}"
    try:
        _try(make_pruner(pruning, epochs), epochs)
    except (ValueError, TypeError, ArithmeticError, AssertionError) as error:
        return None, f"{pruning.name} refuses them: {str(error) or type(error).__name__}"
    return None


def _class_of(pruning: Pruning) -> Any:
    import optuna

    return getattr(optuna.pruners, OPTUNA_PRUNERS[pruning.name])


def _try(pruner: BasePruner, epochs: int) -> None:
    """Let a pruner decide about a trial: some look at their options no sooner."""
    import optuna

    with log_levels({"optuna": logging.WARNING}):
        study = optuna.create_study(direction="maximize")
    for _ in range(2):
        trial = study.ask()
        for epoch in range(1, min(epochs, 9) + 1):
            trial.report(float(epoch), epoch)
            pruner.prune(study, study.get_trials(deepcopy=False)[trial.number])
        study.tell(trial, 1.0)
