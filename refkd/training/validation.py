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
from refkd.evaluation.decode import decode
from refkd.evaluation.metrics import Scores, harmonic_mean, score
from refkd.models.backbone import Backbone
from refkd.training.config import SelectionMetric

VALIDATION_ROLES: tuple[OpenRole, ...] = ("val_id", "val_ood")


@torch.inference_mode()
def predict_clips(
    backbone: Backbone,
    pairs: Pairs,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 128,
) -> NDArray[np.int64]:
    """Return the best span of each pair, (N, 2) inclusive clip indices in the role's order."""
    backbone.eval()
    spans = np.zeros((len(pairs), 2), dtype=np.int64)
    for indices in evaluation_batches(pairs, batch_size=batch_size):
        output = backbone(pairs.batch(indices).to(device))
        start, end = decode(output.spans.start.float(), output.spans.end.float())
        spans[indices] = torch.stack([start, end], dim=1).cpu().numpy()
    return spans


def clips_to_seconds(spans: NDArray[np.int64], pairs: Pairs) -> NDArray[np.float64]:
    """Return (N, 2) seconds: the end clip is inclusive, so its far edge is the end."""
    seconds_a_clip = pairs.duration / pairs.clips
    return np.stack([spans[:, 0], spans[:, 1] + 1], axis=1) * seconds_a_clip[:, None]


def evaluate_role(
    backbone: Backbone, pairs: Pairs, *, device: torch.device | str = "cpu"
) -> Scores:
    """Return the scores of a backbone on one role under the project's convention."""
    spans = predict_clips(backbone, pairs, device=device)
    return score(clips_to_seconds(spans, pairs), pairs)


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
