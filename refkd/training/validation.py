"""Scores of a backbone on the open validation roles, after each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.data.batches import evaluation_batches
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.data.roles import OpenRole
from refkd.evaluation.metrics import Scores, harmonic_mean, score
from refkd.models.backbone import Backbone
from refkd.training.config import SelectionMetric

VALIDATION_ROLES: tuple[OpenRole, ...] = ("val_id", "val_ood")


@torch.inference_mode()
def predict_edges(
    backbone: Backbone,
    pairs: Pairs,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 128,
) -> NDArray[np.float64]:
    """Return where each pair's best span begins and ends, (N, 2) in clips, in the role's order."""
    backbone.eval()
    edges = np.zeros((len(pairs), 2))
    for indices in evaluation_batches(pairs, batch_size=batch_size):
        batch = pairs.batch(indices).to(device)
        edges[indices] = backbone.proposals(backbone(batch), batch).edges[:, 0].cpu().numpy()
    return edges


def edges_to_seconds(edges: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
    """Return (N, 2) seconds: all clips of a video last equally long."""
    seconds: NDArray[np.float64] = edges * (pairs.duration / pairs.clips)[:, None]
    return seconds


def evaluate_role(
    backbone: Backbone, pairs: Pairs, *, device: torch.device | str = "cpu"
) -> Scores:
    """Return the scores of a backbone on one role under the project's convention."""
    edges = predict_edges(backbone, pairs, device=device)
    return score(edges_to_seconds(edges, pairs), pairs)


def validate(
    backbone: Backbone, dataset: Dataset, *, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Return the named scores of both validation roles and their harmonic mean."""
    metrics: dict[str, float] = {}
    for role in VALIDATION_ROLES:
        metrics |= evaluate_role(backbone, dataset.role(role), device=device).named(role)
    metrics["val/harmonic_miou"] = selection_value(metrics, "harmonic")
    return metrics


def selection_value(metrics: Mapping[str, float], by: SelectionMetric) -> float:
    """Return the number that `TrainingConfig.select_by` names."""
    if by == "harmonic":
        value = harmonic_mean(metrics["val_id/miou"], metrics["val_ood/miou"])
    else:
        value = metrics[by]
    return value if math.isfinite(value) else -math.inf
