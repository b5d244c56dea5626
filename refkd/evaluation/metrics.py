"""mIoU, R@n, dR@n and average precision in percent: float64, averaged once, never rounded.

Where a query has several windows, a prediction counts by the one that it matches best, and average
precision looks for all of them: the evaluation of QVHighlights (Lei et al., 2021,
jayleicn/moment_detr, `standalone_eval/eval.py`).

Letters in shapes: N pairs, K predictions a pair, best first, W windows of a query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkd.evaluation.compat import CONVENTIONS, DEFAULT, Compat, Convention
from refkd.evaluation.overlap import Spans

if TYPE_CHECKING:
    from refkd.data.pairs import Pairs

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The m of R@n,IoU=m."""

LOGGED = (0.3, 0.5, 0.7)
"""The thresholds that `Scores.named` and `Ranking.named` report."""

RANKED = 10
"""Spans of each pair's list that average precision looks at, as in Moment-DETR."""

PRECISION = tuple(percent / 100 for percent in range(50, 100, 5))
"""The thresholds of average precision, whose mean is `map_avg`."""

PRECISION_LOGGED = (0.5, 0.75)
"""Those among them that `Ranking.named` reports alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What a system's first predictions score on one role."""

    tiou: NDArray[np.float64]
    """(N,) temporal IoU in [0, 1] of each pair that counts, in the role's order."""
    discount: NDArray[np.float64]
    """(N,) what a hit of each pair counts in dR1, in [0, 1]."""
    miou: float
    """Mean temporal IoU, percent."""
    r1: dict[float, float]
    """R1@m: percent of pairs with a hit, by threshold m."""
    dr1: dict[float, float]
    """dR1@m: R1@m with each hit discounted by how far its ends are off (Yuan et al. 2021)."""

    def named(self, role: str) -> dict[str, float]:
        """Return the numbers under the names they are logged by, such as `val_id/r1_iou0.5`."""
        named = {f"{role}/miou": self.miou}
        for threshold in LOGGED:
            named[f"{role}/r1_iou{threshold}"] = self.r1[threshold]
            named[f"{role}/dr1_iou{threshold}"] = self.dr1[threshold]
        return named


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """What a system's own lists of spans score on one role."""

    r5: dict[float, float]
    """R5@m: percent of pairs with a hit among their first five spans, by threshold m."""
    precision: dict[float, float]
    """AP@m: the mean over the pairs of their average precision, by threshold m; percent.

    Of a query with one window that is 1 / the rank of the first hit, 0 where none hits.
    """
    hit1: float
    """Percent of pairs whose first span has its middle in a window.

    The HIT@1 of highlight detection asks the same of the most salient clip; no saliency is known
    here, so the two are not comparable.
    """

    def named(self, role: str) -> dict[str, float]:
        """Return the numbers under the names they are logged by, such as `val_id/map_avg`."""
        named = {f"{role}/r5_iou{threshold}": self.r5[threshold] for threshold in LOGGED}
        for threshold in PRECISION_LOGGED:
            named[f"{role}/map_{threshold}"] = self.precision[threshold]
        named[f"{role}/map_avg"] = float(np.mean(list(self.precision.values())))
        named[f"{role}/hit1"] = self.hit1
        return named


@dataclass(frozen=True, kw_only=True, slots=True)
class Recall:
    """R@n and dR@n in percent, by threshold."""

    r: dict[float, float]
    dr: dict[float, float]


def score(predictions: Spans, pairs: Pairs, *, compat: Compat | None = None) -> Scores:
    """Score (N, 2) predicted seconds, one span a pair, in the role's order.

    Without `compat` under the project's convention (`compat.DEFAULT`), else under the published
    one of that name. Raises `ValueError` where predictions and pairs do not match or are none.
    """
    return score_under(predictions, pairs, CONVENTIONS[compat] if compat else DEFAULT)


def score_under(predictions: Spans, pairs: Pairs, convention: Convention) -> Scores:
    """Score (N, 2) predicted seconds under any convention; see `score`."""
    if predictions.shape != (len(pairs), 2):
        raise ValueError(f"predictions of shape {predictions.shape} for {len(pairs)} pairs")
    spans, windows, duration, _ = _prepared(predictions, pairs, convention)
    _, moments = convention.matched(spans, windows)
    return score_spans(spans, moments, duration, convention=convention)


def recall_at(
    top: int, predictions: Spans, pairs: Pairs, *, compat: Compat | None = None
) -> Recall:
    """Return R@top and dR@top of (N, K, 2) predicted seconds, best first; K may be above `top`.

    A pair hits where any of its first `top` spans does; dR discounts by the first that does.
    """
    convention = CONVENTIONS[compat] if compat else DEFAULT
    count, ranks, _ = predictions.shape if predictions.ndim == 3 else (0, 0, 0)
    if not 1 <= top <= ranks or count != len(pairs):
        raise ValueError(f"R@{top} of {len(pairs)} pairs from predictions {predictions.shape}")
    spans, windows, duration, _ = _prepared(predictions[:, :top], pairs, convention)
    tiou, moments = convention.matched(spans, windows)
    return _recall(tiou, _discount(spans, moments, duration[:, None]), convention)


def ranking(predictions: Spans, pairs: Pairs) -> Ranking:
    """Return R5 and average precision of (N, K, 2) predicted seconds, best first.

    Under the project's convention, of the first `RANKED` spans; `ValueError` for fewer than five.
    """
    recall = recall_at(5, predictions, pairs)
    spans, windows, _, counts = _prepared(predictions[:, :RANKED], pairs, DEFAULT)
    tiou = DEFAULT.tiou(spans[:, :, None], windows[:, None])
    worth = {m: average_precision(DEFAULT.hits(tiou, m), tiou, counts) for m in PRECISION}
    middle = spans[:, 0].mean(axis=1)[:, None]
    inside = (windows[..., 0] <= middle) & (middle <= windows[..., 1])
    inside &= windows[..., 0] < windows[..., 1]
    return Ranking(
        r5=recall.r,
        precision={m: 100.0 * float(values.mean()) for m, values in worth.items()},
        hit1=100.0 * float(inside.any(axis=1).mean()),
    )


def average_precision(
    hits: NDArray[np.bool_], tiou: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (N,) the interpolated average precision of ranked spans, in [0, 1].

    `hits` and `tiou` are (N, K, W), `counts` (N,) the windows there are. Going down the ranks, a
    span finds the window that it overlaps most among those it hits and no better one has found;
    else it is false. Source: ActivityNet's detection evaluation, as QVHighlights' takes it.

    >>> tiou = np.array([[[0.9, 0.0], [0.0, 0.1], [0.0, 0.8]]])
    >>> average_precision(tiou >= 0.5, tiou, np.array([2])).tolist()
    [0.8333333333333333]
    """
    ranks = np.arange(1, tiou.shape[1] + 1)
    if tiou.shape[2] == 1:
        found = hits[..., 0]
        return np.where(found.any(axis=1), 1.0 / (1 + found.argmax(axis=1)), 0.0)
    free = np.arange(tiou.shape[2]) < counts[:, None]
    true = np.zeros(tiou.shape[:2], dtype=bool)
    rows = np.arange(len(tiou))
    for rank in range(tiou.shape[1]):
        open_to = hits[:, rank] & free
        best = np.where(open_to, tiou[:, rank], -1.0).argmax(axis=1)
        true[:, rank] = open_to[rows, best]
        free[rows, best] &= ~true[:, rank]
    precision = true.cumsum(axis=1) / ranks
    interpolated = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    total: NDArray[np.float64] = (interpolated * true).sum(axis=1) / counts
    return total


def score_spans(
    predictions: Spans,
    moments: Spans,
    duration: NDArray[np.float64],
    *,
    convention: Convention = DEFAULT,
) -> Scores:
    """Score (N, 2) spans against (N, 2) moments as they stand, with `duration` (N,) in their unit.

    Of the convention only tIoU and the hit test apply: nothing is clamped, rounded or dropped.

    >>> scores = score_spans(np.array([[0.0, 5.0]]), np.array([[0.0, 10.0]]), np.array([20.0]))
    >>> scores.miou, scores.r1[0.5], scores.dr1[0.5], scores.r1[0.7]
    (50.0, 100.0, 75.0, 0.0)
    """
    tiou = convention.tiou(predictions, moments)
    discount = _discount(predictions, moments, duration)
    recall = _recall(tiou[:, None], discount[:, None], convention)
    miou = 100.0 * float(tiou.mean())
    return Scores(tiou=tiou, discount=discount, miou=miou, r1=recall.r, dr1=recall.dr)


def harmonic_mean(a: float, b: float) -> float:
    """Return 2ab / (a + b) of two scores that are not negative, 0 where both are 0.

    >>> harmonic_mean(60.0, 30.0)
    40.0
    """
    return 2.0 * a * b / (a + b) if a + b != 0 else 0.0


def _prepared(
    predictions: Spans, pairs: Pairs, convention: Convention
) -> tuple[Spans, Spans, NDArray[np.float64], NDArray[np.int64]]:
    """Return predictions, windows, durations and numbers of windows of the pairs that count."""
    spans = convention.adjusted(np.asarray(predictions, dtype=np.float64), pairs)
    windows, counts = convention.windows(pairs), pairs.window_counts
    if not convention.drop_empty:
        return spans, windows, pairs.duration, counts
    kept = (windows[..., 0] < windows[..., 1]).any(axis=1)
    return spans[kept], windows[kept], pairs.duration[kept], counts[kept]


def _discount(
    predictions: Spans, moments: Spans, duration: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a^s · a^e with a = 1 - |p - g| / D, clamped to [0, 1] before the product."""
    off = np.abs(predictions - moments) / duration[..., None]
    discount: NDArray[np.float64] = np.clip(1.0 - off, 0.0, 1.0).prod(axis=-1)
    return discount


def _recall(
    tiou: NDArray[np.float64], discount: NDArray[np.float64], convention: Convention
) -> Recall:
    """Return recall over (N, K) ranked spans, in percent."""
    if len(tiou) == 0:
        raise ValueError("there are no pairs to score")
    r, dr = {}, {}
    for threshold in THRESHOLDS:
        hits = convention.hits(tiou, threshold)
        hit = hits.any(axis=1)
        first = np.take_along_axis(discount, hits.argmax(axis=1)[:, None], axis=1)[:, 0]
        r[threshold] = 100.0 * float(hit.mean())
        dr[threshold] = 100.0 * float(np.where(hit, first, 0.0).mean())
    return Recall(r=r, dr=dr)
