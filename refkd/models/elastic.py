"""Elastic moment bounding: EMB's labels, which stretch to a trusted proposal.

Shapes: B pairs, T clips, N proposals. Spans are first and last clips, inclusive.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from refkd.data.batch import Batch
from refkd.models.backbone import NEGATIVE, widened
from refkd.models.blocks import BlockGrid

LOWEST, STEEPNESS = 0.5, 0.05
"""Of the threshold: its limit, and the share of training over which it falls."""
RANK_LOW, RANK_HIGH = 0.3, 0.7
"""IoU at and below which a proposal's rank label is 0, and from which on it is 1."""


def iou_threshold(epoch: int, epochs: int) -> float:
    """Return τ, the IoU with the truth from which on a proposal is trusted in an epoch.

    It falls from 1 to 0.5 as a sigmoid of the share of epochs that are over.

    >>> [round(iou_threshold(epoch, 100), 3) for epoch in (0, 40, 50, 60, 99)]
    [1.0, 0.94, 0.75, 0.56, 0.5]
    """
    progress = (epoch / epochs - 0.5) / STEEPNESS
    return LOWEST + (1.0 - LOWEST) / (1.0 + math.exp(progress))


def overlap(spans: Tensor, first: Tensor, beyond: Tensor) -> Tensor:
    """Return (B, N) IoU of spans (B, N, 2) with moments from `first` (B,) to `beyond` (B,)."""
    left, right = spans[..., 0], spans[..., 1] + 1
    first, beyond = first[:, None], beyond[:, None]
    shared = torch.minimum(right, beyond) - torch.maximum(left, first)
    hull = torch.maximum(right, beyond) - torch.minimum(left, first)
    return shared.clamp(min=0) / hull


def trusted_spans(rank: Tensor, grid: BlockGrid, batch: Batch, threshold: float) -> Tensor:
    """Return (B, 2), the best ranked proposal that overlaps the truth by τ; else the truth."""
    truth = torch.stack([batch.start, batch.end], dim=1)
    close = overlap(grid.spans, batch.start, batch.end + 1) >= threshold
    candidates = close & grid.mask
    best = rank.detach().masked_fill(~candidates, NEGATIVE).argmax(dim=1)
    chosen = grid.spans[torch.arange(len(best), device=best.device), best]
    return torch.where(candidates.any(dim=1)[:, None], chosen, truth)


def elastic_loss(logits: Tensor, label: Tensor, other: Tensor) -> Tensor:
    """Return -log of the mass between two boundaries, averaged over the batch.

    `logits` are (B, T), the boundaries (B,) in either order; both count.
    """
    clips = torch.arange(logits.shape[1], device=logits.device)
    low, high = torch.minimum(label, other)[:, None], torch.maximum(label, other)[:, None]
    log_p = widened(logits).log_softmax(dim=1)
    inside = (clips >= low) & (clips <= high)
    return -log_p.masked_fill(~inside, NEGATIVE).logsumexp(dim=1).mean()


def rank_labels(grid: BlockGrid, batch: Batch) -> Tensor:
    """Return (B, N) in [0, 1]: how well each proposal overlaps the moment as annotated."""
    iou = overlap(grid.spans, batch.moment[:, 0], batch.moment[:, 1])
    return ((iou - RANK_LOW) / (RANK_HIGH - RANK_LOW)).clamp(min=0, max=1)
