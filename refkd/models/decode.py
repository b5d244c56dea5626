"""From start and end logits to spans of clips.

A span is ranked by the sum of two numbers in float64, all but exact for those of float32, so that
spans tie where they truly do, whatever the padding. Its score is made of that sum alone: a number
that is rounded in another way may rise where the order falls.

Letters in shapes: B pairs, L clips (padded), K spans kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

PADDED = -1e29
"""A logit at or below this marks a padded clip; backbones write -1e30 there."""


def decode(start_logits: Tensor, end_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's most probable span, (B,) int64 first and (B,) int64 last clip, inclusive.

    The span is the arg-max of log P_s + log P_e over s <= e; ties go to the smallest s, then to
    the smallest e. The normalisers of P_s and P_e are constant in a row, so logits do. Each row
    needs a valid clip; padded ones are then never returned. Costs O(B L).

    >>> start, end = decode(torch.tensor([[0.0, 4.0, 1.0]]), torch.tensor([[5.0, 0.0, 2.0]]))
    >>> start.tolist(), end.tolist()
    ([1], [2])
    """
    start_logits, end_logits = start_logits.double(), end_logits.double()
    best_end = end_logits.flip(1).cummax(dim=1).values.flip(1)
    start = (start_logits + best_end).argmax(dim=1)
    row = start_logits.gather(1, start[:, None]) + end_logits
    before = torch.arange(row.shape[1], device=row.device) < start[:, None]
    return start, row.masked_fill(before, -torch.inf).argmax(dim=1)


def decode_top(
    start_logits: Tensor, end_logits: Tensor, top: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's `top` spans, best first: first clip, last clip, P_s · P_e; all (B, K).

    K is `top`, or fewer where no row has that many valid spans. A row with fewer valid spans than
    K repeats its best one with probability 0: such spans are valid and change no R@n. Ties are
    ordered as in `decode`, which the first column equals.

    >>> logits = torch.tensor([[2.0, 0.0, -1e30]])
    >>> start, end, probability = decode_top(logits, logits, 5)
    >>> start.tolist(), end.tolist(), [round(p, 3) for p in probability[0].tolist()]
    ([[0, 0, 1]], [[0, 1, 1]], [0.776, 0.105, 0.014])
    """
    start, end, total, spare = top_spans(start_logits, end_logits, top)
    normaliser = sum(x.double().logsumexp(dim=1, keepdim=True) for x in (start_logits, end_logits))
    probability = (total - normaliser).exp().to(start_logits.dtype)
    return start, end, falling(probability.masked_fill(spare, 0.0))


def top_spans(start: Tensor, end: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return each row's `top` spans of the largest start + end: first clip, last clip, sum, spare.

    All (B, K), best first, ordered as in `decode`, the sum in float64; scores are (B, L), at most
    `PADDED` on padded clips. A spare one repeats the row's best, where the row has fewer than K
    valid spans.
    """
    if top < 1:
        raise ValueError(f"top is {top}; ask for at least one span")
    wide_start, wide_end = start.double(), end.double()
    if top == 1:
        first, last = (clip[:, None] for clip in decode(start, end))
        total = wide_start.gather(1, first) + wide_end.gather(1, last)
        return first, last, total, torch.zeros_like(first, dtype=torch.bool)
    length = start.shape[1]
    # A span of another start is behind the best spans of `top` starts, so these hold all.
    best_end = wide_end.flip(1).cummax(dim=1).values.flip(1)
    order = (wide_start + best_end).sort(dim=1, descending=True, stable=True).indices
    starts = order[:, :top].sort(dim=1).values
    joint = wide_start.gather(1, starts)[:, :, None] + wide_end[:, None]
    before = torch.arange(length, device=start.device) < starts[:, :, None]
    joint = joint.masked_fill(before, -torch.inf).flatten(1)
    total, order = joint.sort(dim=1, descending=True, stable=True)
    clips = (start > PADDED).sum(dim=1)
    spans = clips * (clips + 1) // 2
    kept = min(top, int(spans.max()))
    total, order = total[:, :kept], order[:, :kept]
    spare = torch.arange(kept, device=order.device) >= spans[:, None]
    order, total = (torch.where(spare, x[:, :1], x) for x in (order, total))
    return starts.gather(1, order // length), order % length, total, spare


def falling(score: Tensor) -> Tensor:
    """Return (B, K) scores of spans, best first, none above the one before it.

    `exp` and `sigmoid` are off by up to the last digit, which may raise the lower of two close
    numbers above the other: a CPU computes whole vectors in one way and what is left in another.
    """
    return score.cummin(dim=1).values
