"""Noise of validation, with and without an average of the weights, in worlds of known truth.

Students at random points of a space, each from a seed of its own, are validated after every epoch
on as few pairs as real splits have, and scored at their end on large test roles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks import finals, races, winner
from benchmarks.rows import Aim, Row, row
from benchmarks.worlds import ROLES, Bank, Trained, make_bank, make_world

DECAYS = (0.0, 0.9, 0.97)
"""Without an average first; one of 0.9 remembers 10 steps, half an epoch here, 0.97 1.7 epochs."""
LAST = 5
"""Epochs whose variance is told, about a straight line through them."""
RUNG = 4
"""The epoch whose order of the students is compared with that of the end."""
WORLDS, STUDENTS, EPOCHS = 2, 20, 14
Values = NDArray[np.float64]


def run(smoke: bool) -> Iterator[Row]:
    """Yield what each average leaves of the noise, one figure a world."""
    torch.set_num_threads(1)
    worlds, students, epochs = (1, 3, 6) if smoke else (WORLDS, STUDENTS, EPOCHS)
    size = {"videos": 60, "pairs": 20} if smoke else {"videos": 2000, "pairs": 320}
    found: list[Bank] = []
    for seed in range(worlds):
        with tempfile.TemporaryDirectory() as name:
            world = make_world(Path(name), **size, epochs=epochs, seed=seed)
            found.append(make_bank(world, DECAYS, students=students, epochs=epochs))
    yield from rows([bank.students for bank in found])
    yield from winner.rows(found, DECAYS, searches=3 if smoke else winner.SEARCHES)
    yield from races.rows(found, searches=3 if smoke else races.SEARCHES)
    yield from finals.rows(searches=3 if smoke else 4 * winner.SEARCHES)


def rows(worlds: Sequence[Sequence[Trained]]) -> Iterator[Row]:
    """Yield the rows of trained students, world by world."""
    students = len(worlds[0])
    for role in ROLES:
        curves = [np.stack([one.tiou[role].mean(axis=2) for one in w]) for w in worlds]
        truth = [np.stack([one.truth[role] for one in w]) for w in worlds]
        for place, decay in enumerate(DECAYS[1:], 1):
            ratios = [noise(c[:, place]) / noise(c[:, 0]) for c in curves]
            note = f"variance about a line, last {LAST} epochs, {students} students a world"
            case = f"{role.upper()} noise, ema {decay} / none"
            yield row("noise", case, ratios, clock="none", aim=Aim(at="<=", bound=1), note=note)
        for place, decay in enumerate(DECAYS):
            told = f"{role.upper()}, ema {decay}" if decay else f"{role.upper()}, no average"
            ranks = [agreement(c[:, place, RUNG - 1], c[:, place, -1]) for c in curves]
            yield row("noise", f"{told}: rung and end", ranks, unit="rank", clock="none")
            ranks = [
                agreement(c[:, place, RUNG - 1], t[:, 0])
                for c, t in zip(curves, truth, strict=True)
            ]
            yield row("noise", f"{told}: rung and truth", ranks, unit="rank", clock="none")
            means = [float(t[:, place].mean()) for t in truth]
            yield row("noise", f"{told}: true mIoU", means, unit="%", clock="none")


def noise(curves: Values) -> float:
    """Return the variance of (S, E) curves about straight lines through their last epochs.

    >>> round(noise(np.array([[0.0, 1.0, 2.0, 3.0, 4.0]])), 6)
    0.0
    """
    last = curves[:, -LAST:]
    epochs = np.arange(last.shape[1])
    lines = np.polynomial.polynomial.polyfit(epochs, last.T, 1)
    left = last - np.polynomial.polynomial.polyval(epochs, lines)
    return float(np.square(left).sum() / (last.size - 2 * len(last)))


def agreement(a: Values, b: Values) -> float:
    """Return the rank correlation of two orders of the students."""
    return float(spearmanr(a, b).statistic)
