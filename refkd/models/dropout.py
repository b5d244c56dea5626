"""Dropout whose masks are cheap to draw on a CPU, where torch's take a quarter of a step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 1 << 16
"""Shares that can be dropped are multiples of 1 / STEPS: two random bytes decide an element."""
_WORD = torch.int64.itemsize // torch.int16.itemsize
"""Elements that one draw decides."""


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with masks of random bytes on a CPU; elsewhere the stock one.

    Each element is dropped by itself with probability p, rounded to a multiple of 1 / `STEPS`,
    and what is kept is scaled by what is dropped, so the expectation is the input. The bytes come
    from torch's global generator.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a share of p set to 0 in training, x itself in evaluation."""
        return drop(x, self.p) if self.training else x


def drop(x: Tensor, p: float) -> Tensor:
    """Return x with each element set to 0 with probability p, the others scaled up."""
    if p == 0.0 or x.device.type != "cpu":
        return F.dropout(x, p)
    return x * keep_mask(x, p)


@torch.no_grad()
def keep_mask(like: Tensor, p: float) -> Tensor:
    """Return a fresh mask in the shape and type of a CPU tensor: 0, or 1 / (1 - p) where kept."""
    count = like.numel()
    words = torch.empty(-(-count // _WORD), dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(torch.int16)[:count].view(like.shape)
    dropped = min(round(p * STEPS), STEPS - 1)
    mask = torch.empty_like(like, memory_format=torch.contiguous_format)
    # Compared straight into floats: a mask of bools takes five times as long to make and to use.
    torch.ge(drawn, dropped - STEPS // 2, out=mask)
    return mask.mul_(STEPS / (STEPS - dropped))
