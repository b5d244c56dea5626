"""Systems side by side: scores with intervals over videos, spread over seeds, differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.comparison import Figure, Row
from refkd.evaluation.compat import DEFAULT
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.intervals import Interval, cluster_bootstrap, paired_bootstrap
from refkd.evaluation.metrics import LOGGED, Scores
from refkd.evaluation.probes import probe
from refkd.models.backbone import Backbone
from refkd.training.validation import evaluate_role
from tune.study.outcomes import Comparison

PER_PAIR = ("miou", *(f"r1_iou{threshold}" for threshold in LOGGED))
"""Metrics that are a mean over pairs of their own, so that videos can be resampled."""
DISCOUNTED = "dr1_iou0.5"
Z = 1.959964
"""Standard errors to either side of a normal variable's 95 % interval."""


class Frozen(Protocol):
    """A trained network on disk: a teacher or a student."""

    def backbone(self, dataset: Dataset) -> Backbone:
        """Return the network with its weights."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A system on a role; K metrics of `PER_PAIR`."""

    values: NDArray[np.float64]
    """(N, K) percent, means over the seeds."""
    sd: NDArray[np.float64] | None
    """(K,) over the seeds."""
    discounted: Figure


def compare(
    students: Mapping[str, Sequence[Frozen]],
    teachers: Mapping[str, Frozen],
    dataset: Dataset,
    roles: tuple[Pairs, Pairs],
    *,
    seed: int,
) -> Comparison:
    """Score students, each trained from some seeds, and teachers on two roles, ID and OOD.

    `teachers` go by `id` and `ood`; as systems they are called `teacher-id` and `teacher-ood`.
    Intervals are bootstrapped over videos from `seed`, under the project's convention.
    """
    systems: dict[str, Sequence[Frozen]] = {_teacher(r): [t] for r, t in teachers.items()}
    systems |= students
    measured = {name: measure(frozen, dataset, roles) for name, frozen in systems.items()}
    intervals = {
        pairs.role: {
            name: cluster_bootstrap(m[pairs.role].values, _videos(pairs), seed=seed)
            for name, m in measured.items()
        }
        for pairs in roles
    }
    inside, outside = (intervals[pairs.role] for pairs in roles)
    pairings = [(student, _teacher(role)) for student in students for role in teachers]
    return Comparison(
        pairs={pairs.role: len(pairs) for pairs in roles},
        scores={
            role: {name: _row(measured[name][role], found) for name, found in by_system.items()}
            for role, by_system in intervals.items()
        },
        differences={p.role: _differences(measured, pairings, p, seed=seed) for p in roles},
        gaps={name: _gap(inside[name], outside[name]) for name in systems},
        floors={pairs.role: _floors(dataset.role("fit"), pairs) for pairs in roles},
        probes={
            name: probe(frozen[0].backbone(dataset), *roles, seed=seed)
            for name, frozen in systems.items()
        },
    )


def _differences(
    measured: Mapping[str, Mapping[str, Measured]],
    pairings: Sequence[tuple[str, str]],
    pairs: Pairs,
    *,
    seed: int,
) -> dict[str, dict[str, Row]]:
    """Return each student - each teacher on one role, by student and teacher."""
    found: dict[str, dict[str, Row]] = {}
    for student, teacher in pairings:
        own, other = measured[student][pairs.role].values, measured[teacher][pairs.role].values
        interval = paired_bootstrap(own, other, _videos(pairs), seed=seed)
        found.setdefault(student, {})[teacher] = figures(interval)
    return found


def _teacher(role: str) -> str:
    return f"teacher-{role}"


def measure(
    frozen: Sequence[Frozen], dataset: Dataset, roles: Sequence[Pairs]
) -> dict[str, Measured]:
    """Score a system, trained from some seeds, on each role."""
    backbones = [one.backbone(dataset) for one in frozen]
    return {
        pairs.role: _over_seeds([evaluate_role(backbone, pairs) for backbone in backbones])
        for pairs in roles
    }


def _over_seeds(scores: Sequence[Scores]) -> Measured:
    values = np.stack([columns(s.tiou) for s in scores])
    discounted = [s.dr1[0.5] for s in scores]
    several = len(scores) > 1
    return Measured(
        values=values.mean(axis=0),
        sd=values.mean(axis=1).std(axis=0, ddof=1) if several else None,
        discounted=Figure(
            value=float(np.mean(discounted)),
            sd=float(np.std(discounted, ddof=1)) if several else None,
        ),
    )


def columns(tiou: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, K): what each pair adds to the metrics of `PER_PAIR`, in percent."""
    hits = [DEFAULT.hits(tiou, threshold) for threshold in LOGGED]
    return np.stack([tiou, *hits], axis=1) * 100.0


def _videos(pairs: Pairs) -> NDArray[np.str_]:
    return np.asarray(pairs.video_ids)


def _row(measured: Measured, interval: Interval) -> Row:
    return {**figures(interval, measured.sd), DISCOUNTED: measured.discounted}


def figures(interval: Interval, sd: NDArray[np.float64] | None = None) -> Row:
    """Return an interval over `PER_PAIR` by metric."""
    return {
        name: Figure(
            value=float(interval.mean[k]),
            low=float(interval.low[k]),
            high=float(interval.high[k]),
            sd=None if sd is None else float(sd[k]),
        )
        for k, name in enumerate(PER_PAIR)
    }


def _gap(inside: Interval, outside: Interval) -> Figure:
    """The roles share no video, so the variances of their means add up."""
    value = float(inside.mean[0] - outside.mean[0])
    half = Z * math.hypot(inside.standard_error[0], outside.standard_error[0])
    return Figure(value=value, low=value - half, high=value + half)


def _floors(fit: Pairs, pairs: Pairs) -> dict[str, dict[str, float]]:
    return {
        name: {
            "miou": scores.miou,
            **{f"r1_iou{t}": scores.r1[t] for t in LOGGED},
            DISCOUNTED: scores.dr1[0.5],
        }
        for name, scores in bias_floors(fit, pairs).items()
    }
