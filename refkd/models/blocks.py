"""EMB's proposals: all runs of blocks of clips, what they hold, and how they are ranked.

Shapes: B pairs, T clips (padded), n blocks, N = n (n + 1) / 2 proposals from block i to j >= i, by
i and then by j; D hidden size. The reference keeps the other half of the n × n map too, masked.
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

    side: int
    """n."""
    runs: Tensor
    """(2, N) int64, first and last block of each proposal."""
    mask: Tensor
    """(B, N) bool, proposals whose last block holds a valid clip."""
    spans: Tensor
    """(B, N, 2) int64, first and last clip, inclusive; 0 where there is no proposal."""


def block_grid(clip_mask: Tensor, size: int) -> BlockGrid:
    """Return the proposals of videos with the prefix mask (B, T), in blocks of `size` clips."""
    blocks = clip_mask[:, ::size]
    side = blocks.shape[1]
    runs = torch.triu_indices(side, side, device=clip_mask.device)
    first, last = runs
    mask = blocks[:, last]
    beyond = torch.minimum((last + 1) * size, clip_mask.sum(dim=1, keepdim=True))
    spans = torch.stack([(first * size).expand_as(beyond), beyond - 1], dim=2)
    return BlockGrid(side=side, runs=runs, mask=mask, spans=spans * mask[..., None])


def block_maxima(clips: Tensor, mask: Tensor, size: int, *, tail: float) -> Tensor:
    """Return (B, n, D), the maximum over the clips of each block.

    Clips outside the mask (B, T) do not count; an incomplete last block is filled with `tail`.
    """
    shown = clips.masked_fill(~mask[..., None], NEGATIVE)
    filled = F.pad(shown, (0, 0, 0, -clips.shape[1] % size), value=tail)
    return filled.reshape(len(filled), -1, size, filled.shape[2]).amax(dim=2)


def proposal_features(blocks: Tensor, grid: BlockGrid) -> Tensor:
    """Return (B, N, D), the maximum over the blocks (B, n, D) of each proposal; 0 for none."""
    first, last = grid.runs
    number = torch.arange(grid.side, device=blocks.device)
    ahead = blocks[:, None].expand(-1, grid.side, -1, -1)
    ahead = ahead.masked_fill((number < number[:, None])[..., None], NEGATIVE)
    running = ahead.cummax(dim=2).values[:, first, last]
    return running.masked_fill(~grid.mask[..., None], 0.0)


def proposal_guides(blocks: Tensor, grid: BlockGrid) -> tuple[Tensor, Tensor]:
    """Return the first and the last block of each proposal, (B, N, D) each."""
    first, last = grid.runs
    return blocks[:, first], blocks[:, last]


class Ranker(nn.Module):
    """Convolutions over the n × n map of proposals, then one logit each."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(hidden, hidden, KERNEL, padding=KERNEL // 2) for _ in range(layers)
        )
        self.logit = nn.Linear(hidden, 1)

    def forward(self, proposals: Tensor, grid: BlockGrid) -> Tensor:
        """Return logits (B, N) from (B, N, D); not masked."""
        first, last = grid.runs
        x = _map(proposals.transpose(1, 2), grid)
        valid = _map(grid.mask[:, None].to(x.dtype), grid)
        area = KERNEL * KERNEL
        neighbours = F.avg_pool2d(valid, KERNEL, stride=1, padding=KERNEL // 2) * area
        for convolution in self.convolutions:
            x = F.relu(convolution(x * valid)) / neighbours.round().clamp(min=1)
        return self.logit(x[:, :, first, last].transpose(1, 2)).squeeze(2)  # type: ignore[no-any-return]


def _map(values: Tensor, grid: BlockGrid) -> Tensor:
    """Return (B, C, n, n) of values (B, C, N), 0 below the diagonal."""
    first, last = grid.runs
    filled = values.new_zeros(*values.shape[:2], grid.side, grid.side)
    filled[:, :, first, last] = values
    return filled
