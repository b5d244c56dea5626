"""The order in which pairs are read: shuffled by name for training, sorted for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from refkd.data.pairs import Pairs
from refkd.seeds import generator


def training_batches(
    pairs: Pairs, *, batch_size: int, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """Yield every pair's position once, in the order that (seed, epoch) names."""
    order = generator(seed, "order", epoch).permutation(len(pairs)).astype(np.int64)
    return _cut(order, batch_size)


def evaluation_batches(pairs: Pairs, *, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield every pair's position once, videos of like length together to cut padding."""
    return _cut(np.argsort(pairs.clips, kind="stable").astype(np.int64), batch_size)


def _cut(order: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(order), batch_size):
        yield order[first : first + batch_size]
