"""The order head: was the moment moved within its video? (Hao et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.models.dropout import Dropout
from refkd.models.layers import init_weights


class OrderHead(nn.Module):
    """Moment pooling: the mean clip before, in and after a moment to two logits.

    The moment's first clip belongs to what is before it too, its last clip to what is after it,
    as in the source; padded clips belong to nothing (there one of them does).

    >>> head = OrderHead(8)
    >>> mask, edge = torch.ones(2, 5, dtype=torch.bool), torch.tensor([1, 2])
    >>> head(torch.randn(2, 5, 8), mask, edge, edge + 1).shape
    torch.Size([2, 2])
    """

    def __init__(self, width: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.neighbours = nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)
        self.classes = nn.Linear(3 * width, 2)
        init_weights(self)

    def forward(self, features: Tensor, clip_mask: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Return (B, 2) logits, class 0 as filmed and class 1 moved.

        From features (B, L, D), a bool mask (B, L), and (B,) first and last clips, inclusive.
        """
        clips = torch.arange(features.shape[1], device=features.device)
        from_start, to_end = clips >= start[:, None], clips <= end[:, None]
        moment = _mean(features, clip_mask & from_start & to_end)
        before = _mean(features, clip_mask & (clips <= start[:, None]))
        after = _mean(features, clip_mask & (clips >= end[:, None]))
        ahead = F.relu(self.neighbours(torch.cat([before, moment], dim=1)))
        behind = F.relu(self.neighbours(torch.cat([moment, after], dim=1)))
        pooled = torch.cat([moment, ahead, behind], dim=1)
        return self.classes(self.dropout(pooled))  # type: ignore[no-any-return]


def _mean(features: Tensor, mask: Tensor) -> Tensor:
    """Return (B, D), the mean of the masked rows of (B, L, D)."""
    weights = mask.to(features.dtype)[:, None, :]
    return ((weights @ features) / weights.sum(dim=2, keepdim=True))[:, 0]
