"""Bidirectional LSTMs that do not see padding.

Shapes: B pairs, L steps (padded), D features in, H hidden size of a direction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refkd.models.dropout import Dropout


class BiLSTM(nn.Module):
    """Layers of two LSTMs, one over each sequence and one over the same read backwards.

    Equal to a bidirectional `nn.LSTM` on packed sequences (there `backward.k` is named
    `*_lk_reverse`), with no length leaving the device.
    """

    def __init__(self, width: int, hidden: int, *, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [width] + [2 * hidden] * (layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)
        self.backwards = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L, 2H) states from (B, L, D) and its prefix mask (B, L); 0 on padding."""
        order = backwards_order(mask)
        rows = torch.arange(len(x), device=x.device)[:, None]
        for number, (ahead, back) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            x = x if number == 0 else self.dropout(x)
            x = torch.cat([ahead(x)[0], back(x[rows, order])[0][rows, order]], dim=2)
        return x * mask[..., None]


def backwards_order(mask: Tensor) -> Tensor:
    """Return (B, L), the step that each one changes places with when valid steps are reversed.

    >>> backwards_order(torch.tensor([[True, True, True, False]])).tolist()
    [[2, 1, 0, 3]]
    """
    steps = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(mask, mask.sum(dim=1, keepdim=True) - 1 - steps, steps)


def final_states(states: Tensor, mask: Tensor) -> Tensor:
    """Return (B, 2H): the last state of either direction, of (B, L, 2H) states."""
    ahead, back = states.chunk(2, dim=2)
    last = (mask.sum(dim=1) - 1).clamp(min=0)
    rows = torch.arange(len(states), device=states.device)
    return torch.cat([ahead[rows, last], back[:, 0]], dim=1)
