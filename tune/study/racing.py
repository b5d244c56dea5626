"""Racing: how likely a trial is among the best at a rung, by a paired bootstrap over the videos.

Trials are compared on the same pairs, so that what makes a query hard for all of them cancels out
(O. Maron and A. Moore, "Hoeffding races", NIPS 1994; M. López-Ibáñez et al., irace, 2016; Optuna's
`WilcoxonPruner`). Pairs of one video depend on each other, so whole videos are drawn, the same for
all trials. In each resample the trials are ranked as in `tune.study.pruners`.

Letters in shapes: N pairs, V videos, R resamples, T trials, O objectives.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from refkd.seeds import generator
from tune.config.metrics import BALANCED, MEANS
from tune.study import pruners

RESAMPLES = 300
_HALVES = tuple(f"{role}/miou" for role in MEANS[BALANCED])
"""The metrics whose harmonic mean `BALANCED` is."""
Values = NDArray[np.float64]
Scored = Mapping[str, str]
"""What an epoch scored on each video, as `pack` returns it, by the metric that is the mean."""


def pack(scores: NDArray[np.floating], videos: Sequence[str]) -> str:
    """Return the mean of (N,) scores in each of their videos as text: 16/3 characters a video.

    Base64 of V means (float16), then V numbers of pairs (uint16), little-endian, the videos in
    the order of their names.

    >>> text = pack(np.array([0.5, 1.0, 0.25]), ["a", "b", "a"])
    >>> text, [row.tolist() for row in unpack(text)]
    ('ADYAPAIAAQA=', [[0.375, 1.0], [2.0, 1.0]])
    """
    _, member = np.unique(np.asarray(videos), return_inverse=True)
    pairs = np.bincount(member)
    means = np.bincount(member, weights=scores) / pairs
    table = np.stack([means.astype("<f2").view("<u2"), pairs.astype("<u2")])
    return base64.b64encode(table.tobytes()).decode("ascii")


def unpack(text: str) -> tuple[Values, Values]:
    """Return (V,) means and (V,) numbers of pairs."""
    means, pairs = np.frombuffer(base64.b64decode(text), dtype="<u2").reshape(2, -1)
    return means.view("<f2").astype(np.float64), pairs.astype(np.float64)


def resampled(
    points: Mapping[int, pruners.Point],
    scored: Mapping[int, Scored],
    signs: Mapping[str, float],
    *,
    seed: int,
    rung: int,
) -> Values:
    """Return (R, T, O) objectives of trials, by their numbers, in each resample; more is better.

    An objective that is no mean over pairs, such as a cost, is in each what it is in `points`. The
    result is the same on every machine: sums of so many float16 are exact in float64.
    """
    numbers = sorted(points)
    drawn = {
        name: _means([unpack(scored[number][name]) for number in numbers], seed, rung, name)
        for name in scored[numbers[0]]
    }
    if drawn.keys() >= set(_HALVES):
        a, b = (drawn[name] for name in _HALVES)
        drawn[BALANCED] = 2 * a * b / np.where(a + b == 0, 1.0, a + b)
    fixed = np.array([points[number] for number in numbers])
    columns = [
        sign * drawn[name] if name in drawn else np.tile(column, (RESAMPLES, 1))
        for (name, sign), column in zip(signs.items(), fixed.T, strict=True)
    ]
    return np.stack(columns, axis=2)


def _means(trials: Sequence[tuple[Values, Values]], *names: int | str) -> Values:
    """Return (R, T) means over the pairs of drawn videos."""
    pairs = trials[0][1]
    count = len(pairs)
    drawn = generator("race", *names).integers(count, size=(RESAMPLES, count))
    times = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float64)
    totals = np.stack([means * pairs for means, _ in trials], axis=1)
    means: Values = (times @ totals) / (times @ pairs)[:, None]
    return means


def chance(drawn: Values, row: int, best: int, *, tie: pruners.Tie = "crowding") -> float:
    """Return the share of (R, T, O) resamples in which fewer than `best` trials rank before one.

    >>> chance(np.array([[[3.0], [1.0]], [[1.0], [2.0]]]), 0, 1)
    0.5
    """
    if drawn.shape[2] == 1:
        return float(((drawn > drawn[:, [row]]).sum(axis=1) < best).mean())
    return sum(_is_among(values, row, best, tie) for values in drawn) / len(drawn)


def _is_among(values: Values, row: int, best: int, tie: pruners.Tie) -> bool:
    fronts = moocore.pareto_rank(values, maximise=True)
    if int((fronts <= fronts[row]).sum()) <= best or int((fronts < fronts[row]).sum()) >= best:
        return bool((fronts < fronts[row]).sum() < best)
    return pruners.ranks(dict(enumerate(values)), [row], tie=tie)[row] < best
