"""Extrospection, equations (8) to (10) and (12): what the student makes of each teacher.

A side branch shows how far the student already agrees with its teacher (affinity π) and how well
that agreement locates the moment (confidence ρ). All weights are without gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refkd.distill.distributions import EPSILON, cross_entropy, kl, log_probabilities
from refkd.models.backbone import SpanLogits
from refkd.models.decode import decode


def side_divergence(teacher: Tensor, side: Tensor, *, temperature: float, reverse: bool) -> Tensor:
    """Return KL(P^k_b ‖ P'^k_b) of equation (8) from logits (B, L): (B,).

    No gradient reaches the teacher. `reverse` is KL(P' ‖ P), the order as printed (A4).
    """
    log_teacher = log_probabilities(teacher.detach(), temperature)
    log_side = log_probabilities(side, temperature)
    if reverse:
        # Not `kl`: here the target carries the gradient, through its logarithm as well.
        return (log_side.exp() * (log_side - log_teacher)).sum(dim=1)
    return kl(log_teacher.exp(), log_side)


def affinity(
    teacher: SpanLogits, side: SpanLogits, *, measure: str = "ce", swapped: bool = False
) -> Tensor:
    """Return π^k = 1 / CE(P^k_s, P'^k_s) + 1 / CE(P^k_e, P'^k_e), equation (9): (B,).

    `measure="kl"` takes the divergence instead (A17), `swapped` the side branch as target (A3).
    """
    total = torch.zeros_like(teacher.start[:, 0], dtype=log_probabilities(teacher.start).dtype)
    for theirs, ours in ((teacher.start, side.start), (teacher.end, side.end)):
        log_target, log_other = log_probabilities(theirs), log_probabilities(ours)
        if swapped:
            log_target, log_other = log_other, log_target
        loss = kl if measure == "kl" else cross_entropy
        total = total + 1.0 / loss(log_target.exp(), log_other).clamp(min=EPSILON)
    return total


def index_iou(start: Tensor, end: Tensor, true_start: Tensor, true_end: Tensor) -> Tensor:
    """Return the IoU of inclusive clip spans, in [0, 1].

    >>> index_iou(*(torch.tensor([n]) for n in (2, 5, 4, 7))).item() == 2 / 6
    False
    >>> round(index_iou(*(torch.tensor([n]) for n in (2, 5, 4, 7))).item(), 4)
    0.3333
    """
    return interval_iou(start, end + 1, true_start, true_end + 1)


def interval_iou(start: Tensor, end: Tensor, true_start: Tensor, true_end: Tensor) -> Tensor:
    """Return the IoU of half-open intervals over their hull; 0 where the hull is empty."""
    overlap = (torch.minimum(end, true_end) - torch.maximum(start, true_start)).clamp(min=0)
    hull = torch.maximum(end, true_end) - torch.minimum(start, true_start)
    return torch.where(hull > 0, overlap / hull.clamp(min=EPSILON), 0.0)


def confidence(side: SpanLogits, true_start: Tensor, true_end: Tensor) -> Tensor:
    """Return ρ^k = IoU(decode(P'^k_s, P'^k_e), (i*_s, i*_e)), equation (10): (B,)."""
    start, end = decode(side.start, side.end)
    dtype = log_probabilities(side.start).dtype
    return index_iou(start, end, true_start, true_end).to(dtype)


def confidence_in_time(side: SpanLogits, moment: Tensor) -> Tensor:
    """Return ρ^k against the annotated moment (B, 2), in clips but not rounded to them (A16)."""
    start, end = decode(side.start, side.end)
    truth = moment.to(log_probabilities(side.start).dtype)
    return interval_iou(start.to(truth), end.to(truth) + 1, truth[:, 0], truth[:, 1])


def expected_confidence(side: SpanLogits, true_start: Tensor, true_end: Tensor) -> Tensor:
    """Return the IoU expected over all spans s ≤ e under P'^k_s P'^k_e (ambiguity A16)."""
    p_start, p_end = (log_probabilities(x).exp() for x in (side.start, side.end))
    joint = torch.triu(p_start[:, :, None] * p_end[:, None, :])
    positions = torch.arange(joint.shape[1], device=joint.device)
    start, end = positions[None, :, None], positions[None, None, :]
    iou = index_iou(start, end, true_start[:, None, None], true_end[:, None, None]).to(joint.dtype)
    return (joint * torch.triu(iou)).sum(dim=(1, 2)) / joint.sum(dim=(1, 2)).clamp(min=EPSILON)


def reweight(
    weights: tuple[Tensor, Tensor], affinities: tuple[Tensor, Tensor], *, norm: str = "exact"
) -> tuple[Tensor, Tensor]:
    """Return u^ID_b and u^OOD_b of equation (12) from (w^ID, w^OOD) and (π^ID, π^OOD): (B,) each.

    u^ID ∝ w^ID π^OOD and u^OOD ∝ w^OOD π^ID: the teacher the student already agrees with counts
    less. With the exact normaliser they sum to 1; `norm="const"` is the constant 2 with affinities
    that sum to 1, whose target need not (ambiguity A18).
    """
    total = affinities[0] + affinities[1]
    u_id = weights[0] * (affinities[1] / total)
    u_ood = weights[1] * (affinities[0] / total)
    if norm == "const":
        return 2.0 * u_id, 2.0 * u_ood
    scale = u_id + u_ood
    nothing = scale == 0
    safe = torch.where(nothing, 1.0, scale)
    return torch.where(nothing, 0.5, u_id / safe), torch.where(nothing, 0.5, u_ood / safe)
