"""How much a key of the space alone explains of what trials come to, with an interval.

Trials are grouped by the thirds of the key's range, or by its choices. The share is the variance
of the groups' means, each group counted once however often the sampler went there, in that of the
scores: one-way analysis of variance on ranks, made free of the bias of small groups. An effect
that shows in combination with another key alone is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refkd.seeds import generator
from tune.config.space import Dimension, Value
from tune.study.chance import Floats, ranks

FEW = 30
"""Complete trials below which nothing is said of the effect of a key."""
SMALLEST = 5
"""Trials that each part of a range needs for it."""
PARTS = 3
"""Parts of a range of numbers."""
DRAWS = 1000
"""Samples of the trials that an interval rests on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """The share of the differences between trials that a key alone explains, from 0 to 1."""

    value: float
    low: float
    high: float
    """Ends of the 95 % interval over resampled trials."""


def share(
    dimension: Dimension, values: Sequence[Value], scores: Sequence[float] | Floats
) -> Share | None:
    """Return what a key explains of the order of some scores.

    None where a part of its range holds fewer than `SMALLEST` trials, or where it has but one.
    """
    parts = [dimension.part(value, PARTS) for value in values]
    ranked = ranks(scores)
    groups = [
        ranked[[part == number for part in parts]] for number in range(dimension.parts(PARTS))
    ]
    if len(groups) < 2 or min(map(len, groups)) < SMALLEST:
        return None
    draw = generator("effect", len(scores))
    samples = [group[draw.integers(len(group), size=(DRAWS, len(group)))] for group in groups]
    # A sample's groups differ by their scatter twice: that of the trials, and that of the draw.
    drawn = _explained(samples, times=2)
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return Share(value=float(_explained([group[None] for group in groups])[0]), low=low, high=high)


def _explained(groups: Sequence[Floats], *, times: int = 1) -> Floats:
    """Return the share that groups explain, (rows,); each group has the shape (rows, trials)."""
    means = np.stack([group.mean(axis=1) for group in groups])
    inside = np.stack([group.var(axis=1, ddof=1) for group in groups])
    sizes = np.array([[group.shape[1]] for group in groups])
    scatter = (inside / sizes).mean(axis=0) * (1 - 1 / len(groups))
    between = np.maximum(0.0, means.var(axis=0) - times * scatter)
    within = inside.mean(axis=0)
    whole = between + within
    found: Floats = np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0)
    return found
