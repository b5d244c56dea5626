"""Bias floors: predictors that never look at the video, fitted on the `fit` role alone.

A system that does not clear them answers from where moments usually lie. All predict fractions
of the duration; constants are searched on a grid of 0.02.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from refkd.evaluation.compat import clamp
from refkd.evaluation.metrics import Scores, score
from refkd.evaluation.overlap import temporal_iou
from refkd.seeds import generator

if TYPE_CHECKING:
    from refkd.data.pairs import Pairs

GRID = 50
"""Steps in a duration: constants start and end at multiples of 1 / GRID."""

CELLS = np.stack(np.triu_indices(GRID + 1, 1), axis=1) / GRID
"""(1275, 2) every constant span on the grid, by start, then by end."""

SUPPORT = 50
"""A query word needs this many queries of the fit role for a constant of its own."""

DRAWS = 20
"""Draws from the prior that are averaged."""

DECILES_FROM, WORDS_FROM = 1, 11
"""Rows of the groups: all pairs, ten deciles of the duration, then the words."""

FITTED_FOR = ("miou", "r1_iou0.5")
"""What a constant is the best for."""


def bias_floors(fit: Pairs, target: Pairs) -> dict[str, Scores]:
    """Return the scores on `target` of seven predictors fitted on `fit`, by name.

    `whole_video` is [0, D]. `constant_*` is the one span that is best on `fit` for mIoU or R1@0.5,
    `decile_*` the best one in each tenth of the durations. `random_draw` predicts the place of a
    random moment of `fit`; its scores, each pair's tIoU and discount too, are means over 20 draws.
    `query_word` is the best span for mIoU of the query's rarest word that 50 queries of `fit`
    hold, or the constant where it holds none.
    """
    edges = np.quantile(fit.duration, np.linspace(0.0, 1.0, 11)[1:-1])
    row, holds = _vocabulary(fit)
    decile = np.searchsorted(edges, fit.duration, side="right")
    pairs = np.arange(len(fit))
    groups = sparse.vstack(
        [
            sparse.csr_array(np.ones((1, len(fit)))),
            sparse.csr_array((np.ones(len(fit)), (decile, pairs)), shape=(10, len(fit))),
            holds,
        ],
        format="csr",
    )
    best = _best_cells(groups, clamp(fit.annotated, fit.duration) / fit.duration[:, None, None])
    target_decile = DECILES_FROM + np.searchsorted(edges, target.duration, side="right")
    whole = np.tile([0.0, 1.0], (len(target), 1))
    floors = {"whole_video": _scored(whole, target)}
    for name in FITTED_FOR:
        everywhere = np.tile(best[name][0], (len(target), 1))
        floors[f"constant_{name}"] = _scored(everywhere, target)
        floors[f"decile_{name}"] = _scored(best[name][target_decile], target)
    floors["random_draw"] = _random_draw(fit, target)
    floors["query_word"] = _scored(best["miou"][_rarest_word(row, target)], target)
    return floors


def locations(pairs: Pairs) -> NDArray[np.float64]:
    """Return (N, 2) clamped moments as fractions of the duration; of several windows the first."""
    return clamp(pairs.moments, pairs.duration) / pairs.duration[:, None]


def _best_cells(
    groups: sparse.csr_array, windows: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return (G, 2) the best cell of each group of pairs, by what it is best for.

    `windows` is (N, W, 2) fractions of the duration, of which a cell counts by the one it matches
    best; `groups` is (G, N) 0/1, its first row all pairs: the cell of a group without pairs.
    """
    sums = {name: np.zeros((groups.shape[0], len(CELLS))) for name in FITTED_FOR}
    for first in range(0, len(windows), 2048):
        rows = slice(first, first + 2048)
        each = (temporal_iou(one[rows, None], CELLS[None]) for one in np.moveaxis(windows, 1, 0))
        tiou = reduce(np.maximum, each)
        members = groups[:, rows]
        sums["miou"] += members @ tiou
        sums["r1_iou0.5"] += members @ (tiou >= 0.5).astype(np.float64)
    empty = groups.sum(axis=1) == 0
    best = {}
    for name, values in sums.items():
        cells = values.argmax(axis=1)
        best[name] = CELLS[np.where(empty, cells[0], cells)]
    return best


def _words(query: str) -> set[str]:
    return set(re.findall(r"[\w']+", query.lower()))


def _vocabulary(fit: Pairs) -> tuple[dict[str, int], sparse.csr_array]:
    """Return the row of each supported word, and (W, N) 0/1: which queries hold it.

    Words go from the rarest to the most frequent, equals by alphabet.
    """
    held = [_words(query) for query in fit.queries]
    counts: dict[str, int] = {}
    for words in held:
        for word in words:
            counts[word] = counts.get(word, 0) + 1
    supported = sorted((n, word) for word, n in counts.items() if n >= SUPPORT)
    row = {word: index for index, (_, word) in enumerate(supported)}
    entries = [(row[w], pair) for pair, words in enumerate(held) for w in words if w in row]
    rows, columns = np.array(entries, dtype=np.int64).reshape(-1, 2).T
    shape = (len(supported), len(fit))
    return row, sparse.csr_array((np.ones(len(entries)), (rows, columns)), shape=shape)


def _rarest_word(row: dict[str, int], target: Pairs) -> NDArray[np.int64]:
    """Return (N,) the group of each query's rarest supported word, 0 where it holds none."""
    chosen = [min((row[w] for w in _words(q) if w in row), default=-1) for q in target.queries]
    return np.array([0 if word < 0 else WORDS_FROM + word for word in chosen], dtype=np.int64)


def _random_draw(fit: Pairs, target: Pairs) -> Scores:
    draws = generator("floors", "random_draw", target.role).integers(
        len(fit), size=(DRAWS, len(target))
    )
    scores = [_scored(spans, target) for spans in locations(fit)[draws]]
    return Scores(
        tiou=np.mean([s.tiou for s in scores], axis=0),
        discount=np.mean([s.discount for s in scores], axis=0),
        miou=float(np.mean([s.miou for s in scores])),
        r1={m: float(np.mean([s.r1[m] for s in scores])) for m in scores[0].r1},
        dr1={m: float(np.mean([s.dr1[m] for s in scores])) for m in scores[0].dr1},
    )


def _scored(spans: NDArray[np.float64], target: Pairs) -> Scores:
    return score(spans * target.duration[:, None], target)
