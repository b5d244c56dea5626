"""How sure it is that the best of some systems is the best: a paired bootstrap over all of them.

A resample draws the videos, and for each system its seeds, with replacement; the videos are the
same for all systems, and so are the seeds where all have the same ones. The probability of being
the best is the share of the resamples in which a system has the highest mean. The optimism is how
far the winner of a resample scores higher there than on all pairs, on average (B. Efron,
"Estimating the error rate of a prediction rule", JASA 78, 1983): what a choice by the highest mean
flatters the chosen. The choice by one standard error is the cheapest system whose mean is less
than one standard error of the difference below the best (L. Breiman et al., "Classification and
regression trees", 1984).

Of one seed nothing is known of what another would have given: then only the pairs vary.

Letters in shapes: N pairs, V videos, R resamples, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkd.config import Config
from refkd.evaluation.metrics import harmonic_mean
from refkd.seeds import generator

Values = NDArray[np.float64]
RESAMPLES = 2000


class Standing(Config):
    """How a choice among systems stands, on one metric."""

    best: int
    """The system that was chosen, by its number: it has the highest mean."""
    probability: dict[int, float]
    """That a system is the best, by its number; highest first."""
    one_error: int
    """The cheapest system that is within one standard error of the best mean."""
    optimism: float
    """How far the mean of the chosen is expected to flatter it, in the metric's unit."""
    seeds: int
    """Seeds of each system that rest in it; of one only the pairs are resampled."""

    def in_doubt(self, sure: float) -> list[int]:
        """Return the fewest systems that hold the best with a probability; one where it is sure.

        >>> known = {"best": 1, "one_error": 1, "optimism": 0.1, "seeds": 3}
        >>> found = Standing(probability={1: 0.7, 4: 0.25, 2: 0.05}, **known)
        >>> found.in_doubt(0.9), found.in_doubt(0.7)
        ([1, 4], [1])
        """
        total, systems = 0.0, []
        for number, share in self.probability.items():
            systems.append(number)
            total += share
            if total >= sure:
                break
        return systems


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """Means of some systems, on all pairs and on resamples of them."""

    plain: Values
    """(S,)"""
    drawn: Values
    """(R, S)"""


def resampled(
    systems: Sequence[Mapping[int, Values]],
    videos: NDArray[Any],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Means:
    """Return the means of systems, each (N,) by the seed it was trained from.

    Equal seeds draw equal videos and equal seeds of systems, so that metrics of two roles go
    together. Raises `ValueError` where a system has not the videos' pairs.

    >>> one, two = {0: np.array([1.0, 3.0])}, {0: np.array([2.0, 2.0])}
    >>> means = resampled([one, two], np.array(["a", "b"]), seed=0, resamples=4)
    >>> means.plain.tolist(), means.drawn.shape
    ([2.0, 2.0], (4, 2))
    """
    names, member = np.unique(videos, return_inverse=True)
    random, even = generator(seed, "standing's seeds"), np.full(len(names), 1 / len(names))
    times = generator(seed, "standing").multinomial(len(names), even, size=resamples)
    pairs = times @ np.bincount(member)
    shared = len({tuple(sorted(system)) for system in systems}) == 1
    weights = _drawn_seeds(random, len(systems[0]), resamples) if shared else None
    plain, drawn = [], []
    for system in systems:
        values = np.stack([system[name] for name in sorted(system)])
        if values.shape[1:] != videos.shape:
            raise ValueError(f"values of {values.shape[1:]} pairs, videos of {videos.shape}")
        totals = np.stack([np.bincount(member, weights=row) for row in values], axis=1)
        own = _drawn_seeds(random, len(values), resamples) if weights is None else weights
        plain.append(float(values.mean()))
        drawn.append(((times @ totals) * own).sum(axis=1) / pairs)
    return Means(plain=np.array(plain), drawn=np.stack(drawn, axis=1))


def _drawn_seeds(random: np.random.Generator, count: int, resamples: int) -> Values:
    """Return (R, count), the share of each seed in a resample."""
    shares: Values = random.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    return shares


def harmonic(a: Means, b: Means) -> Means:
    """Return the harmonic means of two roles' means."""
    both = np.vectorize(harmonic_mean)
    return Means(plain=both(a.plain, b.plain), drawn=both(a.drawn, b.drawn))


def standing(
    means: Means, numbers: Sequence[int], *, costs: Sequence[float], best: int, seeds: int
) -> Standing:
    """Return how the choice of `best` stands among numbered systems that cost so much.

    >>> means = Means(plain=np.array([2.0, 1.0]), drawn=np.array([[3.0, 1.0], [1.5, 2.0]]))
    >>> found = standing(means, [4, 7], costs=[1.0, 1.0], best=4, seeds=1)
    >>> found.probability, found.optimism, found.one_error
    ({4: 0.5, 7: 0.5}, 1.0, 4)
    """
    winners = means.drawn.argmax(axis=1)
    first = means.drawn == means.drawn.max(axis=1, keepdims=True)
    share = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)  # equals are best in turn
    gained = means.drawn[np.arange(len(winners)), winners] - means.plain[winners]
    place = list(numbers).index(best)
    behind = means.drawn[:, [place]] - means.drawn
    near = means.plain[place] - means.plain <= behind.std(axis=0, ddof=1)
    within = [k for k in range(len(numbers)) if near[k]]
    cheapest = min(within, key=lambda k: (costs[k], -means.plain[k], numbers[k]))
    order = sorted(range(len(numbers)), key=lambda k: (-share[k], numbers[k]))
    return Standing(
        best=best,
        probability={numbers[k]: float(share[k]) for k in order},
        one_error=numbers[cheapest],
        optimism=float(gained.mean()),
        seeds=seeds,
    )
