"""What the networks of a table score, with intervals over videos and seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.intervals import cluster_bootstrap
from refkd.evaluation.probes import Probes, probe
from refkd.training.validation import evaluate_role
from tune.finals.comparison import PER_PAIR, Z, columns
from tune.reproduce.units import Unit, Units

SIDES = ("id", "ood")
METHOD = "RefKD"


class Cell(Config):
    """A score or a difference of scores in percent: the mean over pairs and seeds."""

    value: float
    low: float
    """Lower end of the 95 % interval over videos and seeds."""
    high: float
    sd: float | None = None
    """Standard deviation over seeds."""
    half_videos: float
    """Half of the interval if the seeds had no spread: more seeds cannot go below it."""


Cells = dict[str, dict[str, Cell]]
"""By side (`id`, `ood`) and metric."""


class Claim(Config):
    """A student against both teachers, which is what the paper claims of it."""

    student: str
    differences: dict[str, Cells]
    """Student - teacher on the same pairs with the same seeds, by teacher (`id`, `ood`)."""
    verdict: str
    """Of "at least as good as both teachers on both": confirmed, refuted or unresolved."""


class Scored(Config):
    """Everything that a table or a figure shows."""

    pairs: dict[str, int]
    """Pairs by side."""
    roles: dict[str, str]
    """The role that was scored, by side."""
    rows: dict[str, Cells]
    """By label of the system."""
    claims: list[Claim]
    """A claim for each student called RefKD."""
    ablations: dict[str, Cells]
    """Each other student - RefKD on the same pairs with the same seeds and teachers."""
    floors: dict[str, dict[str, float]]
    """mIoU of the bias floors by side."""
    probes: dict[str, Probes]
    """What is left without query, video or order, by label; of each row's first seed."""


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """(S, N, K) percent: seeds, pairs, metrics of `PER_PAIR`."""

    values: NDArray[np.float64]
    videos: NDArray[Any]


def score_units(units: Units, dataset: Dataset, roles: Mapping[str, Pairs]) -> Scored:
    """Score every row on both roles (by side) and every student against its own teachers."""
    scored = {unit.folder: _columns_of(unit, dataset, roles) for unit in units.all()}

    def measure(row: Iterable[Unit], side: str) -> _Measured:
        values = np.stack([scored[unit.folder][side] for unit in row])
        return _Measured(values=values, videos=np.asarray(roles[side].video_ids))

    rows = {
        label: {side: _within(_cells(measure(row, side))) for side in SIDES}
        for label, row in units.rows.items()
    }
    students = {label: row for label, row in units.rows.items() if row[0].teachers}
    claims = [
        _claim(label, row, measure) for label, row in students.items() if label.endswith(METHOD)
    ]
    ablations = {
        label: {side: _cells(_minus(measure(row, side), measure(whole, side))) for side in SIDES}
        for whole in [students.get(METHOD)]
        for label, row in students.items()
        if whole is not None and label != METHOD
    }
    return Scored(
        pairs={side: len(pairs) for side, pairs in roles.items()},
        roles={side: pairs.role for side, pairs in roles.items()},
        rows=rows,
        claims=claims,
        ablations=ablations,
        floors={
            side: {n: s.miou for n, s in bias_floors(dataset.role("fit"), pairs).items()}
            for side, pairs in roles.items()
        },
        probes={
            label: probe(row[0].frozen().backbone(dataset), roles["id"], roles["ood"], seed=0)
            for label, row in units.rows.items()
        },
    )


def _columns_of(
    unit: Unit, dataset: Dataset, roles: Mapping[str, Pairs]
) -> dict[str, NDArray[np.float64]]:
    backbone = unit.frozen().backbone(dataset)
    return {side: columns(evaluate_role(backbone, pairs).tiou) for side, pairs in roles.items()}


def _claim(label: str, row: list[Unit], measure: Any) -> Claim:
    differences: dict[str, Cells] = {}
    for role in SIDES:
        teachers = [unit.teachers[role] for unit in row]
        differences[role] = {
            side: _cells(_minus(measure(row, side), measure(teachers, side))) for side in SIDES
        }
    return Claim(student=label, differences=differences, verdict=_verdict(differences))


def _minus(a: _Measured, b: _Measured) -> _Measured:
    return _Measured(values=a.values - b.values, videos=a.videos)


def _verdict(differences: Mapping[str, Cells]) -> str:
    cells = [side["miou"] for teacher in differences.values() for side in teacher.values()]
    if all(cell.low >= 0 for cell in cells):
        return "confirmed"
    if any(cell.high < 0 for cell in cells):
        return "refuted"
    return "unresolved"


def _within(cells: dict[str, Cell]) -> dict[str, Cell]:
    """Return the cells of a score, whose intervals end where scores do."""
    return {
        metric: cell.model_copy(update={"low": max(0.0, cell.low), "high": min(100.0, cell.high)})
        for metric, cell in cells.items()
    }


def _cells(measured: _Measured) -> dict[str, Cell]:
    """Return the interval of the mean over pairs and seeds.

    It adds up, as independent, the half-width over resampled videos with the seeds held fixed,
    and that over seeds by Student's t, which is wide for few seeds.
    """
    over_seeds = measured.values.mean(axis=1)
    interval = cluster_bootstrap(measured.values.mean(axis=0), measured.videos, seed=0)
    seeds = len(over_seeds)
    spread = over_seeds.std(axis=0, ddof=1) if seeds > 1 else None
    cells = {}
    for k, metric in enumerate(PER_PAIR):
        videos = Z * float(interval.standard_error[k])
        noise = 0.0 if spread is None else float(spread[k]) * _t(seeds) / math.sqrt(seeds)
        value, half = float(interval.mean[k]), math.hypot(videos, noise)
        cells[metric] = Cell(
            value=value,
            low=value - half,
            high=value + half,
            sd=None if spread is None else float(spread[k]),
            half_videos=videos,
        )
    return cells


def _t(seeds: int) -> float:
    return float(stats.t.ppf(0.975, seeds - 1))
