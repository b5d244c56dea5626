"""What the networks of a table score, and how its students differ from others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.comparison import PairScores, Row, difference_row, mean_row, per_pair
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.probes import Probes, probe
from refkd.training.validation import evaluate_role
from tune.reproduce.units import Unit, Units

SIDES = ("id", "ood")
METHOD = "RefKD"

Sides = dict[str, Row]
"""By side (`id`, `ood`) and metric."""


class Claim(Config):
    """A student against both teachers, which is what the paper claims of it."""

    student: str
    differences: dict[str, Sides]
    """Student - teacher on the same pairs with the same seeds, by teacher (`id`, `ood`)."""
    verdict: str
    """Of "at least as good as both teachers on both": confirmed, refuted or unresolved."""


class Scored(Config):
    """Everything that a table or a figure shows."""

    pairs: dict[str, int]
    """Pairs by side."""
    roles: dict[str, str]
    """The role that was scored, by side."""
    rows: dict[str, Sides]
    """By label of the system."""
    claims: list[Claim]
    """A claim for each student called RefKD."""
    ablations: dict[str, Sides]
    """Each other student - RefKD on the same pairs with the same seeds and teachers."""
    floors: dict[str, dict[str, float]]
    """mIoU of the bias floors by side."""
    probes: dict[str, Probes]
    """What is left without query, video or order, by label; of each row's first seed."""


def score_units(units: Units, dataset: Dataset, roles: Mapping[str, Pairs]) -> Scored:
    """Score every row on both roles (by side) and every student against its own teachers."""
    values = {unit.folder: _values_of(unit, dataset, roles) for unit in units.all()}

    def measured(row: Iterable[Unit], side: str) -> PairScores:
        # By replicate: networks of one replicate belong together, whatever their seeds.
        own = {unit.replicate: values[unit.folder][side] for unit in row}
        return PairScores(values=own, videos=np.asarray(roles[side].video_ids))

    def difference(row: Sequence[Unit], other: Sequence[Unit]) -> Sides:
        pairs = {side: (measured(row, side), measured(other, side)) for side in SIDES}
        return {side: difference_row(a, b, seed=0) for side, (a, b) in pairs.items()}

    def claim(label: str, row: Sequence[Unit]) -> Claim:
        found = {role: difference(row, [unit.teachers[role] for unit in row]) for role in SIDES}
        return Claim(student=label, differences=found, verdict=decide(found))

    students = {label: row for label, row in units.rows.items() if row[0].teachers}
    whole = students.get(METHOD)
    return Scored(
        pairs={side: len(pairs) for side, pairs in roles.items()},
        roles={side: pairs.role for side, pairs in roles.items()},
        rows={
            label: {side: mean_row(measured(row, side), seed=0) for side in SIDES}
            for label, row in units.rows.items()
        },
        claims=[claim(label, row) for label, row in students.items() if label.endswith(METHOD)],
        ablations={
            label: difference(row, whole)
            for label, row in students.items()
            if whole is not None and label != METHOD
        },
        floors={
            side: {n: s.miou for n, s in bias_floors(dataset.role("fit"), pairs).items()}
            for side, pairs in roles.items()
        },
        probes={
            label: probe(row[0].frozen().backbone(dataset), roles["id"], roles["ood"], seed=0)
            for label, row in units.rows.items()
        },
    )


def _values_of(
    unit: Unit, dataset: Dataset, roles: Mapping[str, Pairs]
) -> dict[str, NDArray[np.float64]]:
    backbone = unit.frozen().backbone(dataset)
    return {side: per_pair(evaluate_role(backbone, pairs)) for side, pairs in roles.items()}


def decide(differences: Mapping[str, Sides]) -> str:
    """Return whether the differences of mIoU confirm or refute a claim, or decide nothing."""
    figures = [side["miou"] for teacher in differences.values() for side in teacher.values()]
    if all(figure.low is not None and figure.low >= 0 for figure in figures):
        return "confirmed"
    return "refuted" if any(figure.is_below_zero for figure in figures) else "unresolved"
