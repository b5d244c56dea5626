"""What a search will probably do: the simulator on recorded curves, or on made-up ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.stats import t

from refkd.config import Config
from tune.simulation.curves import CurvesError, CurveTable, curves_of, read_curves
from tune.simulation.made_up import MadeUp
from tune.simulation.simulator import Curves, Simulated, simulate_search
from tune.study.budget import reached, total, unbegun
from tune.study.growth import with_prior
from tune.study.inputs import check_inputs
from tune.study.locate import NoStudyError, place_of
from tune.study.snapshot import open_snapshot

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.config.study_file import StudyFile

SEARCHES = 12
"""Simulated searches that a plan rests on."""
HELD = 0.9
"""The share of searches that an expected range is to hold."""


class Expected(Config):
    """A figure of a search to come.

    >>> found = Expected.of([8, 9, 10, 11, 12])
    >>> found.mean, round(found.low, 1), round(found.high, 1)
    (10.0, 6.3, 13.7)
    """

    mean: float
    """Over the simulated searches."""
    low: float
    """Nine in ten of such searches lie between this and `high`."""
    high: float

    @classmethod
    def of(cls, found: Sequence[float], *, most: float = math.inf) -> Self:
        """Return what some searches let expect of the next: Student's interval of prediction.

        No figure is below 0 or above `most`.
        """
        count, mean = len(found), float(np.mean(found))
        spread = float(np.std(found, ddof=1)) * math.sqrt(1 + 1 / count)
        reach = spread * float(t.ppf((1 + HELD) / 2, count - 1))
        return cls(mean=mean, low=max(0.0, mean - reach), high=min(most, mean + reach))

    def holds(self, value: float) -> bool:
        """Return whether a search's figure lies within the range, or not a whole one beside it."""
        return math.floor(self.low) <= value <= math.ceil(self.high)


class Plan(Config):
    """What a search is expected to take, from some simulated searches."""

    study: str
    source: str
    """What the curves are."""
    epoch_seconds: float
    """Of one student."""
    reaching: dict[int, float]
    """Trials that reach an epoch, for every rung and the last one; the mean."""
    budget_trials: int
    trials: Expected
    """Trials that begin."""
    complete: Expected
    pruned: Expected
    epochs: Expected
    """Epochs of students, those of all seeds."""
    full_epochs: int
    """The same if all trials of the budget were complete."""
    hours: Expected
    """Of wall time, with the study's workers."""
    cpu_hours: Expected
    gpu_hours: Expected
    money: Expected
    currency: str
    ends: dict[str, int]
    """Simulated searches that each part of the budget has ended."""


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
            source = "problems made up in its space (no curves yet), timed by a few training steps"
    spec, _ = with_prior(file.search_spec(), place_of(file))
    if spec.pruning.name == "paired_racing":
        source += ", with pairs made up around them"
    if table is None:
        seconds = probe_epoch(file)
        return plan_on(
            spec, lambda seed: MadeUp(spec, seconds=seconds, seed=seed), seconds, source
        )
    known = [c.seconds(e) for c in table.curves for e in range(1, len(c.metrics) + 1)]
    seconds = float(np.mean(known)) / spec.replicates.race
    return plan_on(spec, lambda _: table, seconds, source)


def plan_on(
    spec: SearchSpec, curves: Callable[[int], Curves], seconds: float, source: str
) -> Plan:
    """Return the plan of a search whose simulated ones play `curves` of 0, 1, …"""
    # Bounds may be a teacher's own score, which is not known yet; they prune nothing.
    free: dict[str, object] = {"constraints": []}
    runs = [
        simulate_search(spec.model_copy(update={**free, "seed": spec.seed + n}), curves(n))
        for n in range(SEARCHES)
    ]
    views = [run.study.views() for run in runs]
    spent = [total(all_views, spec) for all_views in views]
    most, students = spec.budget.trials, spec.replicates.seeds

    def ended(state: str) -> Expected:
        return Expected.of([sum(v.state == state for v in found) for found in views], most=most)

    return Plan(
        study=spec.name,
        source=source,
        epoch_seconds=seconds,
        reaching=_reaching([v.epoch for found in views for v in found], spec.epochs),
        budget_trials=most,
        trials=Expected.of([len(found) for found in views], most=most),
        complete=ended("COMPLETE"),
        pruned=ended("PRUNED"),
        epochs=Expected.of([one.epochs for one in spent], most=most * spec.epochs * students),
        full_epochs=most * spec.epochs * students,
        hours=Expected.of([run.seconds / 3600 for run in runs]),
        cpu_hours=Expected.of([one.cpu_seconds / 3600 for one in spent]),
        gpu_hours=Expected.of([one.gpu_seconds / 3600 for one in spent]),
        money=Expected.of([one.money for one in spent]),
        currency=spec.prices.currency,
        ends=dict(Counter(map(ended_by, runs)).most_common()),
    )


def ended_by(run: Simulated) -> str:
    """Return the part of the budget that ended a search, as a field of `Budget` is called."""
    views = run.study.views()
    found = reached(run.spec, views, run.study.launches.wall_seconds)
    waits = run.spec.pruning.type == "promote"  # trials that are begun may still wait for epochs
    used_up = not unbegun(run.spec, views) and not waits
    return "trials" if found is None or used_up else found[0]


def probe_epoch(file: StudyFile) -> float:
    """Return the seconds that one epoch of a student takes here, from a few training steps."""
    from refkd.data.dataset import Dataset
    from refkd.training.threads import threads
    from refkd.training.timing import epoch_of_student

    with threads(file.resources.cpu):
        return epoch_of_student(file.student_config({}, seed=0), Dataset.open(file.dataset))


def _reaching(last: Sequence[int], epochs: int) -> dict[int, float]:
    """Return how many trials of a search reach an epoch, where fewer do than the one before."""
    counts = {e: sum(n >= e for n in last) / SEARCHES for e in range(1, epochs + 1)}
    return {
        e: round(count, 1)
        for e, count in counts.items()
        if count and (e in (1, epochs) or count != counts[e - 1])
    }
