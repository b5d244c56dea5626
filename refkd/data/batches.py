"""The order in which pairs are read: shuffled by name for training, sorted for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from refkd.data.pairs import Pairs
from refkd.seeds import generator


def training_batches(
    pairs: Pairs, *, batch_size: int, seed: int, epoch: int, pool: int = 1
) -> Iterator[NDArray[np.int64]]:
    """Yield every pair's position once, in the order that (seed, epoch) names.

    `pool` batches are drawn together and cut by length, clips first and then words, so that a
    batch is padded little; all batches of the epoch then come in an order of their own.
    """
    draw = generator(seed, "order", epoch)
    order = draw.permutation(len(pairs)).astype(np.int64)
    if pool == 1:
        return _cut(order, batch_size)
    pools = (_by_length(pairs, drawn) for drawn in _cut(order, pool * batch_size))
    batches = [batch for drawn in pools for batch in _cut(drawn, batch_size)]
    return (batches[k] for k in draw.permutation(len(batches)))


def evaluation_batches(pairs: Pairs, *, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield every pair's position once, videos of like length together to cut padding."""
    return _cut(np.argsort(pairs.clips, kind="stable").astype(np.int64), batch_size)


def _by_length(pairs: Pairs, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    clips = pairs.clips[rows]
    words = np.zeros_like(clips) if pairs.contents is None else pairs.contents.lengths[rows]
    return rows[np.lexsort((words, clips))]


def _cut(order: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(order), batch_size):
        yield order[first : first + batch_size]
