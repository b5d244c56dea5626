"""EMB's proposals: all runs of blocks of clips, what they hold, and how they are ranked.

Shapes: B pairs, T clips (padded), n blocks, N = n² proposals, of which those with first block i <=
last block j are real; D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.models.backbone import NEGATIVE

KERNEL = 3
"""Width of the ranker's convolutions, in blocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockGrid:
    """Which proposals there are."""

    blocks: Tensor
    """(B, n) bool, blocks with a valid clip."""
    mask: Tensor
    """(B, N) bool, real proposals."""
    spans: Tensor
    """(B, N, 2) int64, first and last clip, inclusive; 0 where there is no proposal."""


def block_grid(clip_mask: Tensor, size: int) -> BlockGrid:
    """Return the proposals of videos with the prefix mask (B, T), in blocks of `size` clips."""
    blocks = clip_mask[:, ::size]
    clips, count = clip_mask.sum(dim=1), blocks.shape[1]
    number = torch.arange(count, device=clip_mask.device)
    mask = (number[:, None] <= number) & blocks[:, None, :]
    first = (number * size)[:, None].expand(-1, count)
    last = (number + 1) * size - 1
    last = torch.minimum(last.expand(count, -1), clips[:, None, None] - 1)
    spans = torch.stack([first.expand_as(last), last], dim=3) * mask[..., None]
    return BlockGrid(blocks=blocks, mask=mask.flatten(1), spans=spans.flatten(1, 2))


def block_maxima(clips: Tensor, mask: Tensor, size: int, *, tail: float) -> Tensor:
    """Return (B, n, D), the maximum over the clips of each block.

    Clips outside the mask (B, T) do not count; an incomplete last block is filled with `tail`.
    """
    shown = clips.masked_fill(~mask[..., None], NEGATIVE)
    filled = F.pad(shown, (0, 0, 0, -clips.shape[1] % size), value=tail)
    return filled.reshape(len(filled), -1, size, filled.shape[2]).amax(dim=2)


def proposal_features(blocks: Tensor, grid: BlockGrid) -> Tensor:
    """Return (B, N, D), the maximum over blocks i..j; 0 where there is no proposal."""
    count = blocks.shape[1]
    number = torch.arange(count, device=blocks.device)
    ahead = blocks[:, None].expand(-1, count, -1, -1)
    ahead = ahead.masked_fill((number < number[:, None])[..., None], NEGATIVE)
    running = ahead.cummax(dim=2).values.flatten(1, 2)
    return running.masked_fill(~grid.mask[..., None], 0.0)


def proposal_guides(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last block of each proposal, (B, N, D) each."""
    count = blocks.shape[1]
    left = blocks[:, :, None].expand(-1, -1, count, -1)
    right = blocks[:, None].expand(-1, count, -1, -1)
    return left.flatten(1, 2), right.flatten(1, 2)


class Ranker(nn.Module):
    """Convolutions over the n × n map of proposals, then one logit each."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(hidden, hidden, KERNEL, padding=KERNEL // 2) for _ in range(layers)
        )
        self.logit = nn.Linear(hidden, 1)

    def forward(self, proposals: Tensor, mask: Tensor) -> Tensor:
        """Return logits (B, N) from (B, N, D) and its mask; not masked."""
        side = round(proposals.shape[1] ** 0.5)
        x = proposals.transpose(1, 2).reshape(len(mask), -1, side, side)
        valid = mask.view(-1, 1, side, side).to(x.dtype)
        area = KERNEL * KERNEL
        neighbours = F.avg_pool2d(valid, KERNEL, stride=1, padding=KERNEL // 2) * area
        for convolution in self.convolutions:
            x = F.relu(convolution(x * valid)) / neighbours.round().clamp(min=1)
        return self.logit(x.flatten(2).transpose(1, 2)).squeeze(2)  # type: ignore[no-any-return]
