"""Moving a moment within its video (Hao et al., ECCV 2022, `gt_translate`)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from refkd.data.batch import Batch
from refkd.seeds import generator


def translate(batch: Batch, *, seed: int, epoch: int) -> Batch:
    """Return a copy of each pair with the moment moved to a place drawn uniformly.

    The background keeps its order and closes the gap, so frames, lengths and padding stay the
    same. A moment of one clip, or one that fills its video, is returned unchanged. The place is a
    function of (seed, epoch, pair).
    """
    length = batch.end - batch.start + 1
    room = batch.clips - length
    places = [
        int(generator(seed, "translate", epoch, pair).integers(0, most + 1))
        for pair, most in zip(batch.pairs.tolist(), room.tolist(), strict=True)
    ]
    place = torch.tensor(places, device=batch.clips.device)
    start = torch.where((length > 1) & (room > 0), place, batch.start)
    order = moved_order(batch, start)
    rows = torch.arange(len(batch), device=order.device)[:, None]
    shift = (start - batch.start)[:, None]
    return replace(
        batch,
        features=batch.features[rows, order],
        start=start,
        end=start + length - 1,
        moment=batch.moment + shift,
    )


def moved_order(batch: Batch, start: Tensor) -> Tensor:
    """Return (B, L), the clip that comes to each position when moments begin at `start` (B,)."""
    positions = torch.arange(batch.features.shape[1], device=start.device).expand(len(batch), -1)
    length = (batch.end - batch.start + 1)[:, None]
    old, new = batch.start[:, None], start[:, None]
    # Clips between the old and the new place move by the moment's length, towards the gap.
    later = positions + length * ((positions >= old) & (positions < new))
    earlier = positions - length * ((positions >= new + length) & (positions < old + length))
    background = torch.where(new >= old, later, earlier)
    inside = (positions >= new) & (positions < new + length)
    return torch.where(inside, positions - new + old, background)
