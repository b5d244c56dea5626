"""The sparse map of 2D-TAN: which spans it holds, how they overlap, what they say of a clip.

Letters in shapes: B pairs, L clips (padded), N map clips, A anchors, K spans kept. Map clip i of a
video of n clips covers [i, i + 1) · n / N of its clips; an anchor is a first and a last map clip,
inclusive. Source: microsoft/2D-TAN, `prop_modules` and `core/eval.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refkd.models.backbone import NEGATIVE

DENSE = 16
"""Lengths up to this many map clips are all on the map, at every start."""
STEPS = 8
"""Anchor lengths of each coarser scale, whose step and stride double from scale to scale."""


def scales(map_clips: int) -> tuple[int, ...]:
    """Return the number of anchor lengths of each scale.

    Above `DENSE`, a map must have a power of two times as many clips: `ValueError` otherwise.

    >>> scales(8), scales(16), scales(128)
    ((8,), (16,), (16, 8, 8, 8))
    """
    if map_clips <= DENSE:
        return (map_clips,)
    doublings = (map_clips // DENSE).bit_length() - 1
    if DENSE << doublings != map_clips:
        raise ValueError(f"map_clips is {map_clips}; give at most 16, or 32, 64, 128, ...")
    return (DENSE, *[STEPS] * doublings)


def anchors(map_clips: int) -> Tensor:
    """Return (A, 2) int64 first and last map clips of every anchor, by length, then by start.

    >>> [len(anchors(n)) for n in (16, 64, 128)]
    [136, 1104, 2548]
    """
    found = []
    reach = 0
    for scale, count in enumerate(scales(map_clips)):
        stride = 2**scale
        for _ in range(count):
            reach += stride
            first = torch.arange(0, map_clips - reach + 1, stride)
            found.append(torch.stack([first, first + reach - 1], dim=1))
    return torch.cat(found)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the temporal IoU of (..., 2) edges, broadcast; 0 where the hull is empty."""
    shared = torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])
    hull = torch.maximum(a[..., 1], b[..., 1]) - torch.minimum(a[..., 0], b[..., 0])
    return shared.clamp(min=0) / hull.clamp(min=torch.finfo(hull.dtype).tiny)


def log_mass(log_q: Tensor, sets: Tensor) -> Tensor:
    """Return (B, S) the log of the probability in each set, from (B, A) and bool sets (S, A)."""
    return log_q[:, None, :].masked_fill(~sets, NEGATIVE).logsumexp(dim=2)


def spread(log_p: Tensor, clips: Tensor, length: int) -> Tensor:
    """Return (B, L) log-probabilities of clips, L = `length`, from (B, N) those of map clips.

    The mass of a map clip is spread evenly over the stretch of video that it covers, so totals
    stay 1; `NEGATIVE` past a video's `clips` (B,).
    """
    map_clips = log_p.shape[1]
    # In units of 1/N clip both grids have whole edges, so the shares are exact.
    clip = torch.arange(length, device=clips.device)[None, :, None] * map_clips
    begin = torch.arange(map_clips, device=clips.device) * clips[:, None, None]
    end = begin + clips[:, None, None]
    covered = (torch.minimum(clip + map_clips, end) - torch.maximum(clip, begin)).clamp(min=0)
    share = covered.clamp(min=1).to(log_p.dtype) / clips[:, None, None]
    log_share = share.log().masked_fill(covered == 0, NEGATIVE)
    mass = (log_p[:, None, :] + log_share).logsumexp(dim=2)
    valid = torch.arange(length, device=clips.device) < clips[:, None]
    return mass.masked_fill(~valid, NEGATIVE)


def at_clips(values: Tensor, clips: Tensor, length: int) -> Tensor:
    """Return (B, L), for each clip the (B, N) value of the map clip that its middle lies in.

    Clips past a video's `clips` (B,) read its last map clip.
    """
    map_clips = values.shape[1]
    middle = 2 * torch.arange(length, device=clips.device) + 1
    index = torch.div(middle * map_clips, 2 * clips[:, None], rounding_mode="floor")
    return values.gather(1, index.clamp(max=map_clips - 1))


def suppress(logits: Tensor, spans: Tensor, *, above: float, top: int) -> tuple[Tensor, Tensor]:
    """Return (B, K) the anchors that are kept, best first, and (B, K) bool: which are repeats.

    Greedy: the best anchor that is left is kept, the first of equals, and all whose IoU with it is
    above `above` go. K is `top`, or the most that any row keeps; a row that keeps fewer repeats
    its best. `logits` is (B, A), `spans` (A, 2) edges in any unit.
    """
    left = logits
    kept: list[Tensor] = []
    repeats: list[Tensor] = []
    for _ in range(top):
        value, best = left.max(dim=1)
        spent = value == -torch.inf
        if spent.all():
            break
        kept.append(torch.where(spent, kept[0], best) if kept else best)
        repeats.append(spent)
        left = left.masked_fill(iou(spans[best][:, None], spans) > above, -torch.inf)
    return torch.stack(kept, dim=1), torch.stack(repeats, dim=1)
