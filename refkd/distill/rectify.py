"""Label rectification, equations (11), (13), (14) and the ablation "Pure GT".

Where the student, taught by teacher k, cannot locate the moment, the teacher is pulled to the
ground truth. Each function returns P̃^k_b, a point of the simplex for each pair: (B, L).
"""

from __future__ import annotations

import torch
from torch import Tensor

from refkd.distill.config import WindowConfig
from refkd.models.backbone import NEGATIVE


def mixed(p: Tensor, truth: Tensor, rho: Tensor) -> Tensor:
    """Return ρ^k P^k_b + (1 - ρ^k) I_b, equation (11)."""
    return torch.lerp(truth, p, rho[:, None])


def pure_gt(p: Tensor, truth: Tensor, iou: Tensor, delta: float) -> Tensor:
    """Return I_b where the judged span's IoU is below δ, else P^k_b (Table 4)."""
    return torch.where((iou < delta)[:, None], truth, p)


def window(
    log_p: Tensor, index: Tensor, clips: Tensor, rho: Tensor, config: WindowConfig
) -> Tensor:
    """Return κ P^k_b ⊙ f^k_b, equations (13) and (14).

    `log_p` is (B, L), `index` is i*_b and `clips` the valid clips (B,). Computed in logarithms,
    so a narrow window cannot underflow to 0/0.
    """
    positions = torch.arange(log_p.shape[1], device=log_p.device)
    if config.x == "prob":
        truth = positions == index[:, None]
        distance = (log_p.exp() - truth.to(log_p.dtype)) ** 2
    else:
        distance = (positions - index[:, None]).to(log_p.dtype) ** 2
        if config.unit == "fraction":
            distance = distance / (clips[:, None] - 1).clamp(min=1) ** 2
    valid = positions < clips[:, None]
    logits = log_p - (1.0 - rho[:, None]) * distance / config.tau
    return logits.masked_fill(~valid, NEGATIVE).softmax(dim=1)
