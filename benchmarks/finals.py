"""Finalists on made-up noise: what a champion lacks to the best of them, and the seeds it took.

True means, what a seed adds to a student, and what a pair adds to it are normal. Real students of
the real subset differ by a deviation of 0.8 at their end, so do these finalists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, row
from refkd.evaluation.standing import Standing, resampled, standing
from refkd.seeds import generator
from tune.results.rounds import next_round

FINALISTS, SPREAD, OF_SEEDS, OF_PAIRS, PAIRS = 6, 0.8, 0.9, 8.0, 107
"""Finalists of a search, deviations of their true means, of a seed, of a pair; pairs."""
MOST = 10
WAYS: Mapping[str, tuple[int, float | None]] = {
    "one seed": (1, None),
    "3 seeds": (3, None),
    "5 seeds": (5, None),
    "10 seeds": (10, None),
    "up to 10 seeds, 0.8 sure": (MOST, 0.8),
    "up to 10 seeds, 0.9 sure": (MOST, 0.9),
}
"""Seeds of each finalist, and the probability that ends it."""
Values = NDArray[np.float64]


def rows(*, searches: int) -> Iterator[Row]:
    """Yield how good champions of finalists are, and at what cost."""
    for way, (most, sure) in WAYS.items():
        found = np.array([_final(most, sure, seed) for seed in range(searches)])
        error = found[:, 0].std(ddof=1) / len(found) ** 0.5
        note = (
            f"{100 * (found[:, 0] > 0).mean():.0f} % are not the best; {found[:, 1].mean():.1f} "
            f"students of {FINALISTS} finalists; {searches} searches, standard error {error:.2g}"
        )
        case = f"finalists, {way}: champion below the best of them in truth"
        figures = [float(found[:, 0].mean())]
        yield row("noise", case, figures, unit="points", clock="none", note=note)


def _final(most: int, sure: float | None, seed: int) -> tuple[float, float]:
    """Return what the champion lacks to the best finalist, and the students trained."""
    draw = generator("finals", seed)
    true = draw.normal(0, SPREAD, FINALISTS)
    level = true[:, None] + draw.normal(0, OF_SEEDS, (FINALISTS, MOST))
    scores = level[:, :, None] + draw.normal(0, OF_PAIRS, (FINALISTS, MOST, PAIRS))
    counts = dict.fromkeys(range(FINALISTS), 0)

    def stands() -> list[Standing]:
        return [_standing(scores, counts, seed)]

    while places := next_round(counts, stands, most=most, sure=sure):
        for number, _ in places:
            counts[number] += 1
    best = stands()[0].best
    return float(true.max() - true[best]), float(sum(counts.values()))


def _standing(scores: Values, counts: Mapping[int, int], seed: int) -> Standing:
    systems = [dict(enumerate(scores[number, :count])) for number, count in counts.items()]
    means = resampled(systems, np.arange(PAIRS), seed=seed, resamples=300)
    best, costs = int(means.plain.argmax()), [0.0] * len(counts)
    return standing(means, list(counts), costs=costs, best=best, seeds=min(counts.values()))
