"""Curves of a made-up training, the study file of a search on them, and such a search."""

from __future__ import annotations

import math
from typing import Any

from tune.config.study_file import StudyFile
from tune.simulation.curves import Curve, CurveTable
from tune.simulation.simulator import Simulated, World, simulate_search
from tune.study.search_study import SearchStudy

EPOCHS = 9


def study_file(**changes: Any) -> StudyFile:
    settings: dict[str, Any] = {
        "name": "engine",
        "dataset": "nowhere",
        "training": {"epochs": EPOCHS},
        "distill": {"warmup_epochs": 1},
        "space": {
            "distill.lambda_id": {"float": [0.01, 1.0], "log": True},
            "distill.lambda_ood": {"float": [0.01, 1.0], "log": True},
        },
        "budget": {"trials": 30},
        "sampler": {"startup_trials": 4},
        "workers": 3,
    }
    return StudyFile.model_validate({**settings, **changes})


def made_table(count: int = 60) -> CurveTable:
    """Curves of a front between two goals: lambda_id helps ID, lambda_ood OOD, both at a cost."""
    curves = []
    for i in range(count):
        a, b = (i * 0.618) % 1.0, (i * 0.414) % 1.0
        metrics = []
        for epoch in range(1, EPOCHS + 1):
            grown = 1 - math.exp(-epoch / 3)
            metrics.append(
                {
                    "val_id/miou": 50 * grown * (1 - (a - 0.7) ** 2 - 0.3 * b),
                    "val_ood/miou": 40 * grown * (1 - (b - 0.6) ** 2 - 0.3 * a),
                    "cost/cpu_seconds": 2.0 * epoch,
                    "cost/wall_seconds": 2.0 * epoch,
                }
            )
        values = {"distill.lambda_id": 10 ** (2 * a - 2), "distill.lambda_ood": 10 ** (2 * b - 2)}
        curves.append(Curve(values=values, metrics=metrics))
    return CurveTable(study="made", objectives=["val_id/miou", "val_ood/miou"], curves=curves)


TABLE = made_table()
KILLS = World(crash=0.05, kills=(11.0, 30.0, 31.0, 75.0, 120.0))


def run(world: World | None = None, **settings: Any) -> Simulated:
    """Search on the curves with a clock of their own; `settings` are of the study file."""
    return simulate_search(study_file(**settings).search_spec(), TABLE, world)


def fill(study: SearchStudy) -> None:
    """Search without Ray: every fourth trial fails, the others follow the curves."""
    while (ask := study.ask()) is not None:
        curve = TABLE.nearest(ask.values)
        action = "go"
        for epoch in range(1, study.spec.epochs + 1):
            action = study.record(ask.number, epoch, curve.at(epoch))
            if action != "go":
                break
        if action == "pause":
            study.pause(ask.number)
        elif ask.number % 4 == 3:
            study.fail(ask.number, "made to fail")
        elif action == "stop":
            study.prune(ask.number)
        else:
            study.complete(ask.number, curve.at(study.spec.epochs))
    study.close_paused()
