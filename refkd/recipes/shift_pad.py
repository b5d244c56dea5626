"""Inserting real frames into the background, so that a video grows and its moment shifts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.pairs import Pairs
from refkd.seeds import generator

FrameSource = Literal["own", "other"]


@dataclass(frozen=True, kw_only=True)
class ShiftPad:
    """Inserts k frames at a gap of the background; noise would be told apart, frames are not."""

    pairs: Pairs
    """The role that the batches are of, whose other videos frames can be taken from."""
    longest: int
    """Clips that a video may come to have."""
    share: float = 0.5
    """Frames that are inserted at most, as a share of the video's clips."""
    source: FrameSource = "own"
    """Where frames are from: the video's own background, or one other video."""

    def __call__(self, batch: Batch, *, seed: int, epoch: int) -> Batch:
        """Return a longer copy of each pair, a function of (seed, epoch, pair) alone.

        k is uniform from 0 to what `share` and `longest` allow, the gap uniform over all but those
        inside the moment. A video without background gets no frames of its own.
        """
        rows = [
            self._inserted(batch, row, generator(seed, "shift_pad", epoch, pair))
            for row, pair in enumerate(batch.pairs.tolist())
        ]
        videos, moved, added = zip(*rows, strict=True)
        shift = torch.tensor(moved, device=batch.clips.device)
        return replace(
            batch,
            features=torch.nn.utils.rnn.pad_sequence(list(videos), batch_first=True),
            clips=batch.clips + torch.tensor(added, device=batch.clips.device),
            start=batch.start + shift,
            end=batch.end + shift,
            moment=batch.moment + shift[:, None],
        )

    @cached_property
    def _videos(self) -> NDArray[np.int64]:
        """Return (N,) a number for each pair's video."""
        numbers: NDArray[np.int64] = np.unique(self.pairs.video_ids, return_inverse=True)[1]
        return numbers

    def _inserted(
        self, batch: Batch, row: int, rng: np.random.Generator
    ) -> tuple[Tensor, int, int]:
        """Return a row's clips (n + k, V), by how much its moment shifts, and k."""
        clips, start, end = (int(t[row]) for t in (batch.clips, batch.start, batch.end))
        video = batch.features[row, :clips]
        frames = self._frames(video, int(batch.pairs[row]), start, end, rng)
        most = min(self.longest - clips, int(self.share * clips)) if len(frames) else 0
        count = int(rng.integers(0, max(most, 0) + 1))
        gap = int(rng.integers(0, clips - (end - start) + 1))
        gap = gap if gap <= start else gap + end - start
        chosen = np.sort(rng.integers(0, max(len(frames), 1), count))
        new = frames[torch.from_numpy(chosen).to(video.device)]
        grown = torch.cat([video[:gap], new, video[gap:]])
        return grown, count if gap <= start else 0, count

    def _frames(
        self, video: Tensor, pair: int, start: int, end: int, rng: np.random.Generator
    ) -> Tensor:
        """Return the frames (N, V) that can be inserted."""
        if self.source == "own":
            return torch.cat([video[:start], video[end + 1 :]])
        others = np.flatnonzero(self._videos != self._videos[pair])
        if len(others) == 0:
            return video[:0]
        return self.pairs.batch([int(rng.choice(others))]).features[0].to(video)
