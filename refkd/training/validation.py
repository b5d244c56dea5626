"""Scores of a backbone on the open validation roles, after each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from refkd.data.dataset import Dataset
from refkd.evaluation.metrics import harmonic_mean
from refkd.evaluation.predictions import (
    edges_to_seconds,
    evaluate_role,
    predict_edges,
    rank_role,
)
from refkd.models.backbone import Backbone
from refkd.training.config import SelectionMetric
from refkd.training.validated import VALIDATION_ROLES, ByRole, Validated


def validate(
    backbone: Backbone, dataset: Dataset, *, device: torch.device | str = "cpu"
) -> Validated:
    """Return the named scores of both validation roles, their harmonic mean, and each pair's."""
    metrics: dict[str, float] = {}
    tiou: ByRole = {}
    for role in VALIDATION_ROLES:
        scores, ranking = rank_role(backbone, dataset.role(role), device=device)
        metrics |= scores.named(role) | ranking.named(role)
        tiou[role] = scores.tiou.astype(np.float16)
    metrics["val/harmonic_miou"] = selection_value(metrics, "harmonic")
    return Validated(metrics=metrics, tiou=tiou)


def selection_value(metrics: Mapping[str, float], by: SelectionMetric) -> float:
    """Return the number that `TrainingConfig.select_by` names."""
    if by == "harmonic":
        value = harmonic_mean(metrics["val_id/miou"], metrics["val_ood/miou"])
    else:
        value = metrics[by]
    return value if math.isfinite(value) else -math.inf


__all__ = [
    "VALIDATION_ROLES",
    "edges_to_seconds",
    "evaluate_role",
    "predict_edges",
    "selection_value",
    "validate",
]
