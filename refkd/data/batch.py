"""What a model reads: a padded batch of videos with one sentence each.

Letters in shapes: B pairs, L clips (padded), M words (padded), C characters a word, V feature
dimension, d_t width of a token where queries are given as features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A batch of pairs; clip masks are prefix masks, spans are inclusive clip indices."""

    features: Tensor
    """(B, L, V) float; rows past a video's clips are zero."""
    clips: Tensor
    """(B,) int64, valid clips of each video, 1..L."""
    words: Tensor
    """(B, M) int64 word ids: 0 padding, 1 unknown, as all tokens that are given as features."""
    characters: Tensor
    """(B, M, C) int64 character ids: 0 padding, 1 unknown; C is `words.CHARACTERS_PER_WORD`."""
    start: Tensor
    """(B,) int64, i*_s: the moment's first clip."""
    end: Tensor
    """(B,) int64, i*_e: the moment's last clip, inclusive, >= start."""
    moment: Tensor
    """(B, 2) float32, start and end as annotated, clamped to the video, in units of clips."""
    pairs: Tensor
    """(B,) int64, position of each pair in its role: what knowledge is looked up by."""
    mass: Tensor | None = None
    """(B, 2, L) float, the share of each clip in the labels of start and end, where windows of a
    query share them; None where `start` and `end` are the labels."""
    text: Tensor | None = None
    """(B, M, d_t) float, the tokens of queries that are given as features; None: as words."""

    @property
    def clip_mask(self) -> Tensor:
        """(B, L) bool, true on valid clips."""
        positions = torch.arange(self.features.shape[1], device=self.clips.device)
        return positions < self.clips[:, None]

    @property
    def word_mask(self) -> Tensor:
        """(B, M) bool, true on words."""
        return self.words != 0

    def __len__(self) -> int:
        return int(self.clips.shape[0])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
        """Return the batch on `device`, all features as `dtype` where one is given."""
        wanted = torch.device(device)

        def move(tensor: Tensor) -> Tensor:
            if wanted.type == "cuda" and tensor.device.type == "cpu":
                tensor = tensor.pin_memory()  # else the copy waits for the device
            return tensor.to(wanted, non_blocking=True)

        moved = self._each(move)
        text = None if moved.text is None else moved.text.to(dtype=dtype)
        return replace(moved, features=moved.features.to(dtype=dtype), text=text)

    def select(self, rows: Tensor) -> Batch:
        """Return the pairs at `rows`, int64 positions in this batch."""
        return self._each(lambda tensor: tensor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(tensor: Any) -> Any:
            return None if tensor is None else change(tensor)

        return Batch(**{f.name: changed(getattr(self, f.name)) for f in fields(self)})
