"""How often, and by how much, the champion of a search is worse than the best of its trials.

A search is some students of a bank, validated on as many pairs as the real split has, drawn by
video from all that the bank was validated on. Its champion is the one with the best mean; the
truth is the mIoU on the large test roles, which nothing but this reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, row
from benchmarks.worlds import ROLES, Bank
from refkd.evaluation.standing import resampled, standing
from refkd.seeds import generator

SEARCHES, TRIALS, PAIRS = 100, 12, 107
"""Searches in a world, trials of one, and validation pairs of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Won:
    """What became of one search."""

    wrong: float
    """100 where its champion is not the best of its trials in truth, else 0."""
    short: float
    """How far it is below the best of them, in points of true mIoU."""
    said: float
    """The probability of being the best that its champion bore, in percent."""
    optimism: float
    """How far its mean was said to flatter it, in points."""
    flattered: float
    """How far it did: its mean above that on the pairs that were not drawn, less what the drawn
    ones gave to the trials on average."""


FIGURES = {
    "champions that are not the best in truth": ("wrong", "%"),
    "champion below the best of its trials in truth": ("short", "points"),
    "probability of being the best, said": ("said", "%"),
    "optimism of the champion, said": ("optimism", "points"),
    "optimism of the champion, on the other pairs": ("flattered", "points"),
}


def rows(banks: Sequence[Bank], decays: Sequence[float], *, searches: int) -> Iterator[Row]:
    """Yield how good champions are with each average of the weights, one figure a world."""
    for role in ROLES:
        for place, decay in enumerate(decays):
            found = [
                [_search(bank, role, place, seed) for seed in range(searches)] for bank in banks
            ]
            average = f"ema {decay}" if decay else "no average"
            for case, (name, unit) in FIGURES.items():
                each = [np.array([getattr(won, name) for won in world]) for world in found]
                error = np.mean([values.std(ddof=1) / len(values) ** 0.5 for values in each])
                yield row(
                    "noise",
                    f"{role.upper()}, {average}: {case}",
                    [float(values.mean()) for values in each],
                    unit=unit,
                    clock="none",
                    note=f"{searches} searches of {TRIALS} trials a world, standard error "
                    f"{error:.2g} {unit}",
                )


def drawn_of(bank: Bank, role: str, seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return all students in the order of a search, and which validation pairs it has."""
    draw = generator("search", seed)
    trials = draw.permutation(len(bank.students))
    videos = bank.videos[role]
    order = draw.permutation(np.unique(videos))
    return trials, np.isin(videos, order[: int(min(0.5, PAIRS / len(videos)) * len(order))])


def _search(bank: Bank, role: str, place: int, seed: int) -> Won:
    """Return what becomes of a search by the weights' average at a place."""
    trials, is_drawn = drawn_of(bank, role, seed)
    pairs = np.flatnonzero(is_drawn)
    students = [bank.students[number] for number in trials[:TRIALS]]
    systems = [{0: one.tiou[role][place, -1, pairs]} for one in students]
    truth = np.array([one.truth[role][place] for one in students])
    means = resampled(systems, bank.videos[role][pairs], seed=seed, resamples=500)
    best = int(means.plain.argmax())
    numbers, costs = range(len(students)), [0.0] * len(students)
    said = standing(means, numbers, costs=costs, best=best, seeds=1)
    gained = means.plain - [one.tiou[role][place, -1, ~is_drawn].mean() for one in students]
    return Won(
        wrong=100.0 * (truth[best] < truth.max()),
        short=float(truth.max() - truth[best]),
        said=100.0 * said.probability[best],
        optimism=said.optimism,
        flattered=float(gained[best] - gained.mean()),
    )
