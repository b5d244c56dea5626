"""Introspection, equations (1) to (6): which teacher to hear, judged by the ground truth.

k is a teacher (`id`, `ood`), b a boundary (start, end). Quantities are per pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from refkd.distill.config import IntrospectionConfig
from refkd.distill.distributions import EPSILON, cross_entropy, log_probabilities

Role = Literal["id", "ood"]
"""k, what a teacher was trained for."""
Boundary = Literal["start", "end"]
"""b, the first or the last clip of a moment."""
Weights = tuple[Tensor, Tensor]
"""(w^ID, w^OOD), or (u^ID, u^OOD), of one boundary: (B,) each."""


def teacher_loss(logits: Tensor, truth: Tensor, mask: Tensor, *, ce: str = "position") -> Tensor:
    """Return ℓ^k_b = CE(I_b, P^k_b), equations (1) and (2), clamped from below: (B,).

    `logits` is (B, L), `truth` the distribution I_b (B, L), `mask` bool (B, L). The confidence of
    the paper is c = 1 / ℓ. With `ce="bce"` it is the binary cross-entropy summed over positions
    (ambiguity A1).
    """
    if ce == "bce":
        losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        loss = (losses * mask).sum(dim=1)
    else:
        loss = cross_entropy(truth, log_probabilities(logits))
    return loss.clamp(min=EPSILON)


def introspective_weights(
    loss_id: Tensor, loss_ood: Tensor, *, invert: bool = True
) -> tuple[Tensor, Tensor]:
    """Return w^ID_b and w^OOD_b, equations (3) and (4): (B,) each, their sum is 1.

    The teacher that fits worse gets more weight: w^ID = ℓ^ID / (ℓ^ID + ℓ^OOD). `invert=False` is
    the other sense (ambiguity A6). Neither is computed as 1 minus the other, which would lose a
    small weight's digits.

    >>> import torch
    >>> weights = introspective_weights(torch.tensor([0.1]), torch.tensor([0.9]))
    >>> [round(w.item(), 4) for w in weights]
    [0.1, 0.9]
    """
    total = loss_id + loss_ood
    weights = loss_id / total, loss_ood / total
    return weights if invert else weights[::-1]


def weigh_boundaries(
    losses: Mapping[Role, Mapping[Boundary, Tensor]], config: IntrospectionConfig
) -> dict[Boundary, Weights]:
    """Return (w^ID, w^OOD) for `start` and `end` from ℓ by teacher and boundary (A5)."""
    ours, theirs = losses["id"], losses["ood"]
    if not config.per_boundary:
        both = introspective_weights(
            ours["start"] + ours["end"], theirs["start"] + theirs["end"], invert=config.invert
        )
        return {"start": both, "end": both}
    return {b: introspective_weights(ours[b], theirs[b], invert=config.invert) for b in ours}


def ensemble(weights: Weights, p_id: Tensor, p_ood: Tensor) -> Tensor:
    """Return w^ID P^ID + w^OOD P^OOD, equation (5): the warm-up's target of (6), (B, L)."""
    return weights[0][:, None] * p_id + weights[1][:, None] * p_ood
