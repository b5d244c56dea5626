"""What a search will probably do: the simulator on recorded curves, or on made-up ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refkd.config import Config
from refkd.seeds import generator
from tune.config.space import Value
from tune.simulation.curves import Curve, CurvesError, CurveTable, curves_of, read_curves
from tune.simulation.simulator import simulate_search
from tune.study.budget import priced
from tune.study.inputs import check_inputs
from tune.study.locate import NoStudyError
from tune.study.snapshot import open_snapshot

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile

SEARCHES = 5
"""Simulated searches that a plan is the mean of."""


class Plan(Config):
    """What a search is expected to take: means over some simulated searches."""

    study: str
    source: str
    """What the curves are."""
    epoch_seconds: float
    reaching: dict[int, float]
    """Trials that reach an epoch, for every rung and the last one."""
    trials: float
    epochs: float
    full_epochs: int
    """Epochs without pruning."""
    hours: float
    """Of wall time, with the study's workers."""
    cpu_hours: float
    money: float
    currency: str


def make_plan(path: Path, file: StudyFile, *, curves: Path | None = None) -> Plan:
    """Return what a search of `file`, read from `path`, would do from its beginning."""
    if isinstance(file.dataset, Path) and file.dataset.exists():
        check_inputs(file, verify=False)
    table: CurveTable | None = None
    if curves is not None:
        source, table = f"the curves of {curves}", read_curves(curves)
    else:
        try:
            source, table = "the study's own curves", curves_of(open_snapshot(path))
        except (NoStudyError, CurvesError):
            source = "no curves yet: ends drawn at random, time measured on a few steps"
    held = [] if table is None else table.curves
    known = [curve.seconds(e) for curve in held for e in range(1, len(curve.metrics) + 1)]
    seconds = float(np.mean(known)) if known else probe_epoch(file)
    runs, spec = [], file.search_spec()
    for seed in range(SEARCHES):
        seeded = spec.model_copy(update={"seed": spec.seed + seed, "constraints": []})
        runs.append(simulate_search(seeded, table or _made_up(file, seed, seconds)))
    views = [view for run in runs for view in run.study.views()]
    last = max((view.epoch for view in views), default=0)
    reaching = {e: sum(v.epoch >= e for v in views) / len(runs) for e in range(1, last + 1)}
    rungs = [
        e for e in reaching if e in (1, file.training.epochs) or reaching[e] != reaching[e - 1]
    ]
    epochs = float(np.mean([run.epochs for run in runs]))
    cpu = epochs * seconds * file.resources.cpu * file.replicates.race
    gpu = epochs * seconds * file.resources.gpu * file.replicates.race
    return Plan(
        study=file.name,
        source=source,
        epoch_seconds=seconds,
        reaching={e: round(reaching[e], 1) for e in rungs},
        trials=reaching.get(1, 0.0),
        epochs=epochs,
        full_epochs=file.budget.trials * file.training.epochs,
        hours=float(np.mean([run.seconds for run in runs])) / 3600,
        cpu_hours=cpu / 3600,
        money=priced(epochs=0, cpu_seconds=cpu, gpu_seconds=gpu, prices=file.prices).money,
        currency=file.prices.currency,
    )


def probe_epoch(file: StudyFile) -> float:
    """Return the seconds that one epoch of a student takes here, from a few training steps."""
    from refkd.data.dataset import Dataset
    from refkd.training.threads import threads
    from refkd.training.timing import epoch_of_student

    with threads(file.resources.cpu):
        return epoch_of_student(file.student_config({}, seed=0), Dataset.open(file.dataset))


def _made_up(file: StudyFile, seed: int, seconds: float) -> CurveTable:
    """Return curves with random final values, whose epochs take so many seconds."""
    draw = generator("plan", seed)
    curves = []
    for _ in range(max(64, 2 * file.budget.trials)):
        ends = draw.uniform(10, 50, size=len(file.objectives))
        metrics = []
        for epoch in range(1, file.training.epochs + 1):
            grown = 1 - math.exp(-3 * epoch / file.training.epochs)
            scores = {n: float(e * grown) for n, e in zip(file.objectives, ends, strict=True)}
            cost = {
                "cost/cpu_seconds": epoch * seconds * file.resources.cpu,
                "cost/wall_seconds": epoch * seconds,
            }
            metrics.append({**scores, **cost})
        values: dict[str, Value] = {name: float(draw.uniform()) for name in file.space}
        curves.append(Curve(values=values, metrics=metrics))
    return CurveTable(study="made-up", objectives=file.objectives, curves=curves)
