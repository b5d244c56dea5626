"""Distributions over clips and the divergences between them.

Shapes: (B, L) logits, masked with `NEGATIVE`, or points of the simplex; results are (B,). No
function takes the log of a target, so exact zeros are safe everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-12
"""Lower clamp of losses that are divided by (ambiguity A25)."""


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log softmax(logits / T) in at least float32."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return (wide / temperature if temperature != 1.0 else wide).log_softmax(dim=1)


def kl(target: Tensor, log_p: Tensor) -> Tensor:
    """Return KL(target ‖ p) for a target of probabilities; exact where it has zeros."""
    return F.kl_div(log_p, target, reduction="none").sum(dim=1)


def cross_entropy(target: Tensor, log_p: Tensor) -> Tensor:
    """Return CE(t, p) = -Σ_a t(a) log p(a); 0 where both are 0."""
    return -(target * log_p).sum(dim=1)


def one_hot(index: Tensor, like: Tensor) -> Tensor:
    """Return I, all mass on one clip, in the shape and type of `like`."""
    return torch.zeros_like(like).scatter_(1, index[:, None], 1.0)


def soft_labels(index: Tensor, clips: Tensor, like: Tensor) -> Tensor:
    """Return half the mass on a clip and a quarter on each neighbour (SeqPAN, section 3.2).

    A missing neighbour's share goes to the centre, so the sum is always 1.
    """
    labels = one_hot(index, like)
    for step in (-1, 1):
        neighbour = index + step
        there = (neighbour >= 0) & (neighbour < clips)
        share = one_hot(neighbour.clamp(min=0, max=like.shape[1] - 1), like) - one_hot(index, like)
        labels = labels + 0.25 * there[:, None] * share
    return labels
