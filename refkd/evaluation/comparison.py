"""Systems side by side: mean scores and paired differences, with one meaning of an interval.

The half-width of an interval adds up, as independent, two parts: z times the standard error over
resampled videos with the seeds held fixed, and Student's t times the standard error over seeds,
which is absent for one seed and wide for few of them. More seeds narrow the second part alone.
What a seed does to single pairs counts in both, so intervals tend to be a little too wide.

A difference takes both systems on the same pairs, and resamples their videos together. Where both
were trained from the same set of several seeds, the spread is that of the differences seed by
seed. Else each system's spread over its own seeds counts independently, with the degrees of
freedom of Welch and Satterthwaite; a system of one seed is held fixed. Source: B. L. Welch, "The
generalization of 'Student's' problem when several different population variances are involved",
Biometrika 34, 1947.

Letters in shapes: S seeds, N pairs, K metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkd.config import Config
from refkd.evaluation.compat import DEFAULT
from refkd.evaluation.intervals import cluster_bootstrap, paired_bootstrap
from refkd.evaluation.metrics import LOGGED, Scores

MEANING = (
    "[low, high]: 95 % over resampled videos and, where there are several seeds, over seeds; a "
    "difference pairs the seeds where both systems have the same ones, else each system's spread "
    "over its own seeds counts independently."
)
"""What every interval says, in the words that stand below every table."""
PER_PAIR = ("miou", *(f"r1_iou{threshold}" for threshold in LOGGED), "dr1_iou0.5")
"""Metrics that systems are compared by: each is a mean over pairs, so videos can be resampled."""
Z = 1.959964
"""Standard errors to either side of a normal variable's 95 % interval."""

Values = NDArray[np.float64]


class Figure(Config):
    """A score or a difference, in percent: the mean over pairs and seeds; see `MEANING`."""

    value: float
    low: float | None = None
    """Lower end of the 95 % interval; None where an earlier version stored none."""
    high: float | None = None
    sd: float | None = None
    """Standard deviation over seeds, of a difference over paired ones; None for one seed."""
    half_videos: float | None = None
    """Half of the interval if the seeds had no spread: more seeds cannot go below it."""

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high is not None and self.high < 0

    @property
    def reach(self) -> tuple[float, float]:
        """How far the interval reaches below and above the value; 0 where there is none."""
        if self.low is None or self.high is None:
            return 0.0, 0.0
        return self.value - self.low, self.high - self.value

    def text(self, *, sign: bool = False, spread: bool = False) -> str:
        """Return the value and its interval to two digits, with signs for a difference.

        `spread` adds the standard deviation over seeds, where there is one.

        >>> figure = Figure(value=1.234, low=0.3, high=2.0, sd=0.5)
        >>> figure.text(sign=True), figure.text(spread=True)
        ('+1.23 [+0.30, +2.00]', '1.23 ± 0.50 [0.30, 2.00]')
        """
        form = "+.2f" if sign else ".2f"
        text = f"{self.value:{form}}"
        if spread and self.sd is not None:
            text += f" ± {self.sd:.2f}"
        if self.low is not None and self.high is not None:
            text += f" [{self.low:{form}}, {self.high:{form}}]"
        return text


Row = dict[str, Figure]
"""By metric."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairScores:
    """What a system, trained from one or several seeds, scores on each pair of a role."""

    values: Mapping[int, Values]
    """(N, K) percent by seed; a metric is the mean over the pairs."""
    videos: NDArray[Any]
    """(N,) the video of each pair."""

    def over_seeds(self) -> Values:
        """Return (N, K), the mean over the seeds."""
        mean: Values = np.mean(list(self.values.values()), axis=0)
        return mean

    def by_seed(self, seeds: Sequence[int]) -> Values:
        """Return (S, K), the mean over the pairs for each of some seeds."""
        return np.stack([self.values[seed].mean(axis=0) for seed in seeds])


def per_pair(scores: Scores) -> Values:
    """Return (N, K): what each pair adds to `PER_PAIR` under the project's convention, percent."""
    hits = {threshold: DEFAULT.hits(scores.tiou, threshold) for threshold in LOGGED}
    columns = [scores.tiou, *hits.values(), hits[0.5] * scores.discount]
    return np.stack(columns, axis=1) * 100.0


def means(scores: Scores) -> dict[str, float]:
    """Return the plain scores of one predictor by metric, percent."""
    r1 = {f"r1_iou{threshold}": scores.r1[threshold] for threshold in LOGGED}
    return {"miou": scores.miou, **r1, "dr1_iou0.5": scores.dr1[0.5]}


def mean_row(
    system: PairScores, *, seed: int, metrics: Sequence[str] = PER_PAIR, resamples: int = 2000
) -> Row:
    """Return a system's scores; intervals end where scores do, at 0 and 100.

    `seed` draws the `resamples` of the videos, `metrics` names the K columns. Raises `ValueError`
    where there are fewer than two videos, or shapes differ.

    >>> values = np.array([[10.0], [30.0]])
    >>> system = PairScores(values={0: values, 1: values + 2.0}, videos=np.array(["a", "b"]))
    >>> figure = mean_row(system, seed=0, metrics=["miou"])["miou"]
    >>> figure.value, round(figure.sd, 3), figure.low < 21.0 < figure.high
    (21.0, 1.414, True)
    """
    interval = cluster_bootstrap(
        system.over_seeds(), system.videos, seed=seed, resamples=resamples
    )
    seeds = [system.by_seed(list(system.values))]
    return _row(metrics, interval.mean, interval.standard_error, seeds, within=(0.0, 100.0))


def difference_row(
    a: PairScores,
    b: PairScores,
    *,
    seed: int,
    metrics: Sequence[str] = PER_PAIR,
    resamples: int = 2000,
) -> Row:
    """Return a - b, two systems on the same pairs.

    Seeds are paired where both have the same set of several. Raises as `mean_row`, and
    `ValueError` where the pairs differ.
    """
    if not np.array_equal(a.videos, b.videos):
        raise ValueError("the pairs are of other videos; score both on equal pairs")
    interval = paired_bootstrap(
        a.over_seeds(), b.over_seeds(), a.videos, seed=seed, resamples=resamples
    )
    return _row(metrics, interval.mean, interval.standard_error, _spread(a, b))


def gap_row(
    a: PairScores,
    b: PairScores,
    *,
    seed: int,
    metrics: Sequence[str] = PER_PAIR,
    resamples: int = 2000,
) -> Row:
    """Return a - b, a system on two roles that share no video, so that both errors add up.

    Raises as `mean_row`.
    """
    inside, outside = (
        cluster_bootstrap(one.over_seeds(), one.videos, seed=seed, resamples=resamples)
        for one in (a, b)
    )
    error = np.hypot(inside.standard_error, outside.standard_error)
    return _row(metrics, inside.mean - outside.mean, error, _spread(a, b))


def _spread(a: PairScores, b: PairScores) -> list[Values]:
    """Return the independent groups of seeds in a - b: one where seeds are paired, else two."""
    if set(a.values) == set(b.values):
        seeds = list(a.values)
        return [a.by_seed(seeds) - b.by_seed(seeds)]
    return [one.by_seed(list(one.values)) for one in (a, b)]


def _row(
    metrics: Sequence[str],
    mean: Values,
    error: Values,
    groups: Sequence[Values],
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Row:
    """Return figures of (K,) means, errors over videos, and (S, K) independent groups of seeds."""
    over_seeds = _half_over_seeds([group for group in groups if len(group) > 1], len(mean))
    alone = groups[0] if len(groups) == 1 and len(groups[0]) > 1 else None
    row = {}
    for k, name in enumerate(metrics):
        value, videos = float(mean[k]), Z * float(error[k])
        half = math.hypot(videos, float(over_seeds[k]))
        row[name] = Figure(
            value=value,
            low=max(within[0], value - half),
            high=min(within[1], value + half),
            sd=None if alone is None else float(alone[:, k].std(ddof=1)),
            half_videos=videos,
        )
    return row


def _half_over_seeds(groups: Sequence[Values], count: int) -> Values:
    """Return (K,) the half-width of the 95 % interval of a sum of independent groups' means.

    `groups` are (S, K) with S of at least 2 each. The degrees of freedom are Welch's, which are
    S - 1 for one group.
    """
    # Slow to import, and this module's words are part of commands that compute nothing.
    from scipy.special import stdtrit

    half = np.zeros(count)
    if not groups:
        return half
    variances = np.stack([group.var(axis=0, ddof=1) / len(group) for group in groups])
    total = variances.sum(axis=0)
    some = total > 0
    shares = variances[:, some] / total[some]
    own = np.array([len(group) - 1 for group in groups])[:, None]
    freedom = 1.0 / (shares**2 / own).sum(axis=0)
    half[some] = stdtrit(freedom, 0.975) * np.sqrt(total[some])
    return half
