"""Cutting a video so that its moment lies where moments are rare (after Zhang et al., 2021b).

A reconstruction: of the truncation only the abstract is public. Clips are cut off at both ends, so
nothing is reordered, the moment stays whole, and its share of the video can only grow.

Letters in shapes: B pairs, L clips (padded), K bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.pairs import Pairs
from refkd.seeds import generator

BINS = 10
"""K, the bins a normalised start or end can fall in."""
SMOOTHING = 1.0
"""Pairs that are added to each bin, so that an empty one is rare but not infinitely so."""

ROUNDS = 30
"""Steps towards the copies to be expected; half of the remaining way each."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """Truncates each pair of a batch to a place drawn by how rare it is."""

    counts: Floats = field(default_factory=lambda: np.zeros(BINS * BINS))
    """(K * K,) pairs, originals and copies, by the bin of their start and end: `balanced`."""
    gamma: float
    """γ, how strongly rare places are preferred: 0 for not at all."""
    min_clips: int
    """n_min, clips that are left at least; a shorter video is not cut."""
    max_share: float
    """λ_max, the largest share of its video that a moment may come to have by a cut."""

    def __call__(self, batch: Batch, *, seed: int, epoch: int) -> Batch:
        """Return a truncated copy of each pair, a function of (seed, epoch, pair) alone."""
        rows = zip(
            *(t.tolist() for t in (batch.pairs, batch.clips, batch.start, batch.end)), strict=True
        )
        drawn = [
            self.draw(generator(seed, "truncate", epoch, pair), clips, start, end)
            for pair, clips, start, end in rows
        ]
        left, kept = torch.tensor(drawn, device=batch.clips.device).unbind(dim=1)
        return cropped(batch, left, kept)

    def draw(self, rng: np.random.Generator, clips: int, start: int, end: int) -> tuple[int, int]:
        """Return how many clips are cut off on the left, and how many are left over.

        First a reachable bin is drawn with a probability in proportion to 1 / (h + 1)^γ, then a
        cut uniformly among those that end in it.
        """
        left, kept = self.reachable(clips, start, end)
        bins = place_bins(start - left, end - left, kept)
        found = np.unique(bins)
        weights = self._weights[found]
        chosen = rng.choice(found, p=weights / weights.sum())
        cut = rng.choice(np.flatnonzero(bins == chosen))
        return int(left[cut]), int(kept[cut])

    def reachable(self, clips: int, start: int, end: int) -> tuple[Integers, Integers]:
        """Return every cut as clips gone on the left and clips left over; none is one of them."""
        length = end - start + 1
        fewest = max(self.min_clips, math.ceil(length / self.max_share - 1e-9))
        left = np.arange(start + 1)[:, None]
        kept = clips - left - np.arange(clips - end)[None, :]
        allowed = (kept >= fewest) | (kept == clips)
        return np.broadcast_to(left, kept.shape)[allowed], kept[allowed]

    def balanced(self, pairs: Pairs) -> Truncation:
        """Return this truncation with the histogram of some pairs and of their expected copies.

        The published idea counts each copy as it is made. What a pair becomes would then depend on
        the pairs before it, so the copies are counted by their expectation instead, which is found
        by going half of the way to it again and again.
        """
        originals = count_places(pairs)
        reached = np.zeros((len(pairs), BINS * BINS))
        for row, (clips, (start, end)) in enumerate(zip(pairs.clips, pairs.spans, strict=True)):
            left, kept = self.reachable(int(clips), int(start), int(end))
            reached[row, place_bins(start - left, end - left, kept)] = 1.0
        copies = np.zeros(BINS * BINS)
        for _ in range(ROUNDS):
            weights = reached * replace(self, counts=originals + copies)._weights
            expected = (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0)
            copies = (copies + expected) / 2
        return replace(self, counts=originals + copies)

    @cached_property
    def _weights(self) -> Floats:
        weights: Floats = (self.counts + SMOOTHING) ** -self.gamma
        return weights


def count_places(pairs: Pairs) -> Floats:
    """Return (K * K,) pairs by the bin of their normalised start and end."""
    bins = place_bins(pairs.spans[:, 0], pairs.spans[:, 1], pairs.clips)
    return np.bincount(bins, minlength=BINS * BINS).astype(np.float64)


def place_bins(start: Integers, end: Integers, clips: Integers) -> Integers:
    """Return the bin of each place (start / n, (end + 1) / n), the last one closed."""
    last = np.minimum(BINS * (end + 1) // clips, BINS - 1)
    bins: Integers = BINS * (BINS * start // clips) + last
    return bins


def cropped(batch: Batch, left: Tensor, kept: Tensor) -> Batch:
    """Return the batch without the first `left` (B,) clips of each video, `kept` (B,) of them."""
    positions = torch.arange(batch.features.shape[1], device=left.device)
    order = (positions + left[:, None]).clamp(max=len(positions) - 1)
    rows = torch.arange(len(batch), device=left.device)[:, None]
    padded = (positions >= kept[:, None])[..., None]
    moment = (batch.moment - left[:, None]).clamp(min=0)
    return replace(
        batch,
        features=batch.features[rows, order].masked_fill(padded, 0.0),
        clips=kept,
        start=batch.start - left,
        end=batch.end - left,
        moment=torch.minimum(moment, kept[:, None].to(moment)),
    )
