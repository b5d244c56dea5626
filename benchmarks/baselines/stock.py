"""A network with the layers that the published codes have, in the place of refkd's."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.models.convolution import Depthwise
from refkd.models.dropout import Dropout
from refkd.models.layers import Embedding

Network = TypeVar("Network", bound=nn.Module)


class ChannelsFirst(nn.Module):
    """A grouped `Conv1d`, with its input turned round and back."""

    def __init__(self, ours: Depthwise) -> None:
        super().__init__()
        width, (kernel,) = ours.out_channels, ours.kernel_size
        self.convolution = nn.Conv1d(
            width, width, kernel, padding=kernel // 2, groups=width, bias=False
        )
        self.convolution.load_state_dict(ours.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L, D) from (B, L, D)."""
        y: Tensor = self.convolution(x.transpose(1, 2))
        return y.transpose(1, 2)


class EveryWord(Embedding):
    """Reads the characters of padding too, with features first."""

    def _spelling(self, characters: Tensor) -> Tensor:
        batch, count, length = characters.shape
        char = self.dropout(self.characters(characters))
        char = char.reshape(batch * count, length, -1).transpose(1, 2)
        pooled = [F.relu(conv(char)).amax(dim=2) for conv in self.convolutions]
        return torch.cat(pooled, dim=1).view(batch, count, -1)


def with_stock_layers(network: Network) -> Network:
    """Return the network after its dropout and its convolutions have become torch's."""
    for part in list(network.modules()):
        if isinstance(part, Embedding):
            part.__class__ = EveryWord
        for name, child in part.named_children():
            if isinstance(child, Dropout):
                setattr(part, name, nn.Dropout(child.p).train(child.training))
            elif isinstance(child, Depthwise):
                setattr(part, name, ChannelsFirst(child).train(child.training))
    return network
