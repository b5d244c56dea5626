"""EMB's attention layers: post-norm, and guided by what lies to the left and to the right.

Shapes: B pairs, T targets (clips, words or proposals), S sources, D hidden size. Masks are bool.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.models.backbone import NEGATIVE
from refkd.models.dropout import Dropout
from refkd.models.layers import layer_norm

GUIDES = 2
"""What lies to the left, and what lies to the right."""


class _PostNorm(nn.Module):
    """Attention without an output projection, then two linear maps; a norm after each sum."""

    def __init__(self, hidden: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.dense = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.norm1, self.norm2 = layer_norm(hidden), layer_norm(hidden)
        self.dropout = Dropout(dropout)

    def attend(self, x: Tensor, query: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """Return (B, T, D), targets `x` plus what their `query` (B, T, D) finds in the source."""
        context = F.scaled_dot_product_attention(
            self._split(self.query(query)),
            self._split(self.key(source)),
            self._split(self.value(source)),
            attn_mask=source_mask[:, None, None, :],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        x = self.norm1(x + self.dropout(context.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.dropout(self.dense(x)))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class AttentionLayer(_PostNorm):
    """Targets attend to sources."""

    def forward(self, x: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """Return (B, T, D) from targets (B, T, D) that attend to sources (B, S, D)."""
        return self.attend(x, x, source, source_mask)


class GuidedAttentionLayer(_PostNorm):
    """Attention whose queries are convolved from each target and its two guides."""

    def __init__(self, hidden: int, heads: int, *, kernel: int, dropout: float) -> None:
        super().__init__(hidden, heads, dropout=dropout)
        self.depthwise = nn.Conv2d(
            hidden,
            hidden,
            (kernel, GUIDES + 1),
            padding=(kernel // 2, 0),
            groups=hidden,
            bias=False,
        )
        self.pointwise = nn.Linear(hidden, hidden)
        self.guide_norm = layer_norm(hidden)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        guides: tuple[Tensor, Tensor],
        source: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> Tensor:
        """Return (B, T, D) from targets with their mask, guides (B, T, D) each, and sources.

        Without sources the guided targets attend to each other.
        """
        valid = mask[..., None]
        stacked = torch.stack([*guides, x], dim=3) * valid[..., None]
        mixed = self.depthwise(stacked.transpose(1, 2)).squeeze(3).transpose(1, 2)
        guided = F.relu(self.guide_norm(self.dropout(self.pointwise(mixed))))
        if source is None or source_mask is None:
            source, source_mask = guided, mask
        return self.attend(x, guided, source, source_mask)


def clip_guides(clips: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum over all clips before and over all after each one, 0 where none is.

    (B, T, D) each, from clips (B, T, D) and their mask (B, T).
    """
    shown = clips.masked_fill(~mask[..., None], NEGATIVE)
    nothing = torch.full_like(shown[:, :1], NEGATIVE)
    before = torch.cat([nothing, shown[:, :-1]], dim=1).cummax(dim=1).values
    after = torch.cat([shown[:, 1:], nothing], dim=1).flip(1).cummax(dim=1).values.flip(1)
    return _or_zero(before), _or_zero(after)


def _or_zero(pooled: Tensor) -> Tensor:
    return pooled.masked_fill(pooled <= NEGATIVE / 10, 0.0)
