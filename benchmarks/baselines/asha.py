"""Ray's ASHA on one metric, with Optuna's TPE proposing, on recorded curves.

Scheduler and sampler are the libraries' own; only workers and time are simulated.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler

from tune.simulation.curves import Curve

Metrics = Mapping[str, float]


def search(
    curve_of: Callable[[optuna.Trial], Curve],
    metric: Callable[[Metrics], float],
    *,
    trials: int,
    epochs: int,
    grace: int,
    reduction: int,
    workers: int,
    seed: int,
) -> Iterator[Metrics]:
    """Yield what each epoch measured, in the order in which they end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    scheduler = AsyncHyperBandScheduler(
        time_attr="epoch",
        metric="score",
        mode="max",
        max_t=epochs,
        grace_period=grace,
        reduction_factor=reduction,
    )
    controller: Any = None  # ASHA asks nothing of it
    due: list[tuple[float, int, int, optuna.Trial, Trial, Curve]] = []
    clock = 0.0
    while len(study.trials) < trials or due:
        while len(due) < workers and len(study.trials) < trials:
            asked = study.ask()
            curve, known = curve_of(asked), Trial("student", stub=True)
            scheduler.on_trial_add(controller, known)
            heapq.heappush(due, (clock + curve.seconds(1), asked.number, 1, asked, known, curve))
        clock, number, epoch, asked, known, curve = heapq.heappop(due)
        yield curve.at(epoch)
        score = metric(curve.at(epoch))
        result = {"epoch": epoch, "score": score}
        decision = scheduler.on_trial_result(controller, known, result)
        if decision == scheduler.STOP:  # also at the last epoch
            scheduler.on_trial_complete(controller, known, result)
            study.tell(asked, score)
        else:
            ends = clock + curve.seconds(epoch + 1)
            heapq.heappush(due, (ends, number, epoch + 1, asked, known, curve))
