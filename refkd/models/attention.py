"""Multi-head attention with masks, in the way that is fastest where it runs.

Shapes: B pairs, H heads, L positions that attend to K others, D hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.models.backbone import NEGATIVE


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, heads: int, dropout: nn.Dropout
) -> Tensor:
    """Return (B, L, D): multi-head attention of L positions to K others, heads side by side.

    `mask` (B, L or 1, K) is true where a position may be attended to; a row without any attends
    to all K evenly.
    """

    def split(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)

    q, k, v = split(query), split(key), split(value)
    bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, NEGATIVE)[:, None]
    p = dropout.p if dropout.training else 0.0
    if p > 0.0 and query.device.type == "cpu":
        # torch's kernel for CPUs knows no dropout; what it falls back on looks for empty rows too.
        attended: Tensor = dropout(_weights(q, k, bias)) @ v
    else:
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=p)
    return attended.transpose(1, 2).flatten(2)


def _weights(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """Return (B, H, L, K), what share of each position goes to every other."""
    scores: Tensor = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
    return (scores + bias).softmax(dim=3)
