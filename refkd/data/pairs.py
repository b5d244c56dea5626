"""The pairs of one role: what is asked of which video, and batches of them.

Letters in shapes: N pairs, R clips of all videos, V feature dimension, M words (padded),
C characters a word, U distinct tokens, B pairs of a batch, W windows of a query (padded), T tokens
of all queries that are given as features, of width d_t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.roles import Role
from refkd.errors import DataError
from refkd.seeds import generator

Gather = Callable[[NDArray[np.int64], NDArray[np.int64]], Tensor]
"""From the first rows and the clips of B videos, both (B,), to their features, (B, L, V)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contents:
    """What batches are made of: the mapped clips, and the tokens of every query."""

    clips: NDArray[np.float16]
    """(R, V), the memory map that all readers on a machine share."""
    first: NDArray[np.int64]
    """(N,), row of the first clip of each pair's video."""
    tokens: NDArray[np.int32]
    """(N, M), positions in the tables below; 0 is padding."""
    lengths: NDArray[np.int64]
    """(N,), tokens of each query."""
    words: NDArray[np.int64]
    """(U + 1,), word id of each distinct token."""
    characters: NDArray[np.int64]
    """(U + 1, C), character ids of each distinct token."""
    text: NDArray[np.float16] | None = None
    """(T, d_t), the memory map of queries that are given as features; then all tokens are 1."""
    text_first: NDArray[np.int64] | None = None
    """(N,), row of the first token of each query."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """All windows of each query, where some have several; a missing one repeats the first."""

    seconds: NDArray[np.float64]
    """(N, W, 2) as annotated."""
    spans: NDArray[np.int64]
    """(N, W, 2) first and last clip, inclusive."""
    counts: NDArray[np.int64]
    """(N,) how many there are."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """All pairs of a role, a row a pair."""

    role: Role
    pair_ids: list[str]
    """`VIDEO#k`, k the position among the video's annotations."""
    video_ids: list[str]
    queries: list[str]
    """As annotated, blanks and capitals included."""
    moments: NDArray[np.float64]
    """(N, 2) seconds as annotated: not clamped, some reversed or empty; of several the first."""
    duration: NDArray[np.float64]
    """(N,) seconds of each pair's video."""
    clips: NDArray[np.int64]
    """(N,) clips of each pair's video."""
    spans: NDArray[np.int64]
    """(N, 2) labels i*_s, i*_e: first and last clip of the moment, inclusive."""
    contents: Contents | None = None
    """Absent where pairs are only scored, such as published predictions without features."""
    windows: Windows | None = None
    """None where every query has the one window of `moments`."""
    qids: list[str | int | None] | None = None
    """What the annotation files call the queries; None where they name none."""

    def __len__(self) -> int:
        return len(self.pair_ids)

    def batch(
        self,
        indices: NDArray[np.int64] | Sequence[int],
        *,
        features: Gather | None = None,
        soft: bool = False,
    ) -> Batch:
        """Return the pairs at these positions, padded to the longest of them.

        `features` gathers clips from elsewhere than the memory map, such as from a device. With
        `soft` the batch says how all windows of a query share the label, where some have several.
        """
        if self.contents is None:
            raise DataError(f"the pairs of {self.role} have no features; open a prepared dataset")
        rows = np.asarray(indices, dtype=np.int64)
        clips = self.clips[rows]
        lengths = self.contents.lengths[rows]
        tokens = self.contents.tokens[rows, : lengths.max()]
        spans = self.spans[rows]
        return Batch(
            features=(features or self._gather)(self.contents.first[rows], clips),
            clips=torch.from_numpy(clips),
            words=torch.from_numpy(self.contents.words[tokens]),
            characters=torch.from_numpy(self.contents.characters[tokens]),
            start=torch.from_numpy(spans[:, 0].copy()),
            end=torch.from_numpy(spans[:, 1].copy()),
            moment=torch.from_numpy(self._moments_in_clips(rows)),
            pairs=torch.from_numpy(rows.copy()),
            mass=self._mass(rows) if soft else None,
            text=self._text(rows, lengths),
        )

    @property
    def annotated(self) -> NDArray[np.float64]:
        """(N, W, 2) seconds of all windows as annotated; a missing one repeats the first."""
        return self.moments[:, None] if self.windows is None else self.windows.seconds

    @property
    def window_counts(self) -> NDArray[np.int64]:
        """(N,) windows of each query."""
        return np.ones(len(self), np.int64) if self.windows is None else self.windows.counts

    def drawn(self, *, seed: int, epoch: int) -> Pairs:
        """Return the pairs with one of its windows for each, as (seed, epoch) draws them."""
        if self.windows is None:
            return self
        share = generator(seed, "windows", epoch).random(len(self))
        chosen = (share * self.windows.counts).astype(np.int64)
        rows = np.arange(len(self))
        return replace(
            self,
            moments=self.windows.seconds[rows, chosen],
            spans=self.windows.spans[rows, chosen],
        )

    def _mass(self, rows: NDArray[np.int64]) -> Tensor | None:
        """Return (B, 2, L), what each clip is of the label of the starts and of the ends."""
        if self.windows is None:
            return None
        spans, counts = self.windows.spans[rows], self.windows.counts[rows]
        mass = np.zeros((len(rows), 2, int(self.clips[rows].max())), dtype=np.float32)
        share = (np.arange(spans.shape[1]) < counts[:, None]) / counts[:, None]
        for window in range(spans.shape[1]):
            for side in (0, 1):
                mass[np.arange(len(rows)), side, spans[:, window, side]] += share[:, window]
        return torch.from_numpy(mass)

    def _gather(self, first: NDArray[np.int64], clips: NDArray[np.int64]) -> Tensor:
        assert self.contents is not None
        return _padded(self.contents.clips, first, clips)

    def _text(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor | None:
        contents = self.contents
        if contents is None or contents.text is None or contents.text_first is None:
            return None
        return _padded(contents.text, contents.text_first[rows], lengths)

    def _moments_in_clips(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        duration = self.duration[rows, None]
        clamped = np.clip(self.moments[rows], 0.0, duration)
        return (clamped * self.clips[rows, None] / duration).astype(np.float32)


def _padded(
    store: NDArray[np.float16], first: NDArray[np.int64], clips: NDArray[np.int64]
) -> torch.Tensor:
    """Return (B, L, V) float32 of the videos that start at rows `first`."""
    padded = np.zeros((len(first), int(clips.max()), store.shape[1]), dtype=store.dtype)
    for row, (begin, count) in enumerate(zip(first.tolist(), clips.tolist(), strict=True)):
        padded[row, :count] = store[begin : begin + count]
    # torch widens half precision eight times as fast as NumPy.
    return torch.from_numpy(padded).float()
