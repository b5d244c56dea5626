"""Convolutions over sequences as they lie, features last, which spares turning them round.

Shapes: B sequences, L steps, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolve(convolution: nn.Conv1d, x: Tensor) -> Tensor:
    """Return (B, L', D'), what a convolution makes of (B, L, D).

    Computed as one of images in the layout of channels last, of which a sequence is a row.
    """
    image = x[:, None].permute(0, 3, 1, 2)
    y = F.conv2d(
        image,
        convolution.weight[:, :, None],
        convolution.bias,
        padding=(0, int(convolution.padding[0])),
        groups=convolution.groups,
    )
    return y.permute(0, 2, 3, 1)[:, 0]


class Depthwise(nn.Conv1d):
    """A convolution of every feature by itself, without bias, that keeps the length."""

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L, D) from (B, L, D).

        In the weights' precision even under autocast, as half of it takes twice as long.
        """
        with torch.autocast(x.device.type, enabled=False):
            return convolve(self, x.to(self.weight.dtype))
