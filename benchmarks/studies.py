"""Studies whose students are curves: all of a search but the training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tune.config.study_file import StudyFile
from tune.simulation.curves import Curve, CurveTable
from tune.study.search_study import SearchStudy

EPOCHS = 9
SPACE = {
    "distill.lambda_id": {"float": [0.01, 1.0], "log": True},
    "distill.lambda_ood": {"float": [0.01, 1.0], "log": True},
}


def study_file(folder: Path, **changes: Any) -> StudyFile:
    """Return a study file of two objectives and two keys."""
    settings: dict[str, Any] = {
        "name": "made",
        "dataset": str(folder / "dataset"),
        "workspace": str(folder / "runs"),
        "training": {"epochs": EPOCHS},
        "distill": {"warmup_epochs": 1},
        "space": SPACE,
        "sampler": {"name": "random"},
    }
    return StudyFile.model_validate(settings | changes)


def metrics(a: float, b: float, epoch: int) -> dict[str, float]:
    """Return what a student is said to score; `a` helps ID, `b` OOD, each at the other's cost."""
    grown = 1 - math.exp(-epoch / 3)
    return {
        "val_id/miou": 50 * grown * (1 - (a - 0.7) ** 2 - 0.3 * b),
        "val_ood/miou": 40 * grown * (1 - (b - 0.6) ** 2 - 0.3 * a),
        "cost/cpu_seconds": 2.0 * epoch,
        "cost/wall_seconds": 2.0 * epoch,
    }


def made_curves(count: int = 60) -> CurveTable:
    """Return curves spread over the space."""
    curves = []
    for i in range(count):
        a, b = (i * 0.618) % 1.0, (i * 0.414) % 1.0
        values = {"distill.lambda_id": 10 ** (2 * a - 2), "distill.lambda_ood": 10 ** (2 * b - 2)}
        told = [metrics(a, b, epoch) for epoch in range(1, EPOCHS + 1)]
        curves.append(Curve(values=values, metrics=told))
    return CurveTable(study="made", objectives=["val_id/miou", "val_ood/miou"], curves=curves)


def drive(study: SearchStudy, trials: int) -> int:
    """Run some trials one after the other, as a driver would; return the events."""
    events = 0
    for _ in range(trials):
        ask = study.ask()
        if ask is None:
            return events
        events += 1
        a, b = (float(str(ask.values[name])) for name in SPACE)
        for epoch in range(1, EPOCHS + 1):
            told = metrics(a, b, epoch)
            events += 1
            if study.record(ask.number, epoch, told) == "stop":
                study.prune(ask.number)
                break
        else:
            study.complete(ask.number, told)
    return events
