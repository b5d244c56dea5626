"""What a backbone predicts for the pairs of a role, and what that scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.data.batch import Batch
from refkd.data.batches import evaluation_batches
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.data.roles import Role
from refkd.errors import CheckpointError
from refkd.evaluation.comparison import PairScores, per_pair
from refkd.evaluation.metrics import (
    RANKED,
    Ranking,
    Recall,
    Scores,
    ranking,
    recall_at,
    score,
)
from refkd.models.backbone import Backbone, BackboneOutput, SpanLogits

Change = Callable[[Batch], Batch]
"""What a probe does to a batch before the backbone reads it."""


class Frozen(Protocol):
    """A trained network on disk: a teacher or a student."""

    @property
    def seed(self) -> int:
        """The seed it was trained from."""
        ...

    def backbone(self, dataset: Dataset) -> Backbone:
        """Return the network with its weights."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """The spans of each pair of a role, best first; a pair with fewer repeats its best."""

    edges: NDArray[np.float64]
    """(N, K, 2) in clips."""
    score: NDArray[np.float64]
    """(N, K), comparable within a pair."""
    counts: NDArray[np.int64]
    """(N,) spans that there are."""


class Recorded(Backbone):
    """Logits that were recorded for every pair of some roles, in the place of a network.

    What a batch holds is not looked at but the positions of its pairs in their role, which is the
    one that was begun last.
    """

    def __init__(self, logits: Mapping[str, NDArray[np.float32]], origin: str) -> None:
        """`logits` are (N, 2, L) by role, `origin` says in errors where they come from."""
        super().__init__()
        self.logits, self._origin = logits, origin
        self._role: Role = "fit"

    def begin_role(self, role: Role, *, changed: bool = False) -> None:
        """Learn whose pairs come; `CheckpointError` where a network would have to be asked."""
        if changed or role not in self.logits:
            asked = "batches that a probe has changed" if changed else f"the pairs of {role}"
            raise CheckpointError(
                f"the teacher {self._origin} has no network, and no answers to {asked}"
            )
        self._role = role

    def forward(self, batch: Batch) -> BackboneOutput:
        """Return what was recorded for the pairs of a batch."""
        length = batch.features.shape[1]
        rows = self.logits[self._role][batch.pairs.cpu().numpy(), :, :length]
        both = torch.from_numpy(rows).to(batch.features.device)
        spans = SpanLogits(start=both[:, 0], end=both[:, 1])
        return BackboneOutput(spans=spans, match=torch.zeros_like(spans.start))

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> torch.Tensor:
        """Return 0: nothing is trained."""
        return batch.features.new_zeros(())


@torch.inference_mode()
def predict_listed(
    backbone: Backbone,
    pairs: Pairs,
    *,
    top: int,
    device: torch.device | str = "cpu",
    batch_size: int = 128,
    change: Change | None = None,
) -> Listed:
    """Return each pair's `top` spans, in the role's order."""
    backbone.eval()
    if isinstance(backbone, Recorded):
        backbone.begin_role(pairs.role, changed=change is not None)
    edges, score = np.zeros((len(pairs), top, 2)), np.zeros((len(pairs), top))
    counts = np.zeros(len(pairs), dtype=np.int64)
    for indices in evaluation_batches(pairs, batch_size=batch_size):
        batch = pairs.batch(indices).to(device)
        batch = change(batch) if change else batch
        listed = backbone.proposals(backbone(batch), batch, top=top)
        found = listed.edges.cpu().numpy()
        edges[indices] = found[:, :1]
        edges[indices, : found.shape[1]] = found
        score[indices, : found.shape[1]] = listed.score.float().cpu().numpy()
        counts[indices] = found.shape[1]
    return Listed(edges=edges, score=score, counts=counts)


def predict_proposals(
    backbone: Backbone,
    pairs: Pairs,
    *,
    top: int,
    device: torch.device | str = "cpu",
    batch_size: int = 128,
    change: Change | None = None,
) -> NDArray[np.float64]:
    """Return where each pair's spans begin and end, (N, `top`, 2) in clips, in the role's order.

    Best first; a pair with fewer spans than `top` repeats its best, which changes no R@n.
    """
    return predict_listed(
        backbone, pairs, top=top, device=device, batch_size=batch_size, change=change
    ).edges


def predict_edges(
    backbone: Backbone,
    pairs: Pairs,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 128,
    change: Change | None = None,
) -> NDArray[np.float64]:
    """Return where each pair's best span begins and ends, (N, 2) in clips, in the role's order."""
    return predict_proposals(
        backbone, pairs, top=1, device=device, batch_size=batch_size, change=change
    )[:, 0]


def edges_to_seconds(edges: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
    """Return (N, ..., 2) seconds: all clips of a video last equally long."""
    step = (pairs.duration / pairs.clips).reshape(-1, *[1] * (edges.ndim - 1))
    seconds: NDArray[np.float64] = edges * step
    return seconds


def evaluate_role(
    backbone: Backbone,
    pairs: Pairs,
    *,
    device: torch.device | str = "cpu",
    change: Change | None = None,
) -> Scores:
    """Return the scores of a backbone on one role under the project's convention."""
    edges = predict_edges(backbone, pairs, device=device, change=change)
    return score(edges_to_seconds(edges, pairs), pairs)


def rank_role(
    backbone: Backbone, pairs: Pairs, *, device: torch.device | str = "cpu"
) -> tuple[Scores, Ranking]:
    """Return the scores of a backbone on one role, and those of its own lists of spans."""
    edges = predict_proposals(backbone, pairs, top=RANKED, device=device)
    spans = edges_to_seconds(edges, pairs)
    return score(spans[:, 0], pairs), ranking(spans, pairs)


def measure(
    system: Sequence[Frozen], dataset: Dataset, roles: Sequence[Pairs]
) -> dict[str, PairScores]:
    """Return what a system, trained from some seeds, scores on the pairs of each role, by role."""
    backbones = {frozen.seed: frozen.backbone(dataset) for frozen in system}
    return {
        pairs.role: PairScores(
            values={seed: per_pair(evaluate_role(one, pairs)) for seed, one in backbones.items()},
            videos=np.asarray(pairs.video_ids),
        )
        for pairs in roles
    }


def recall_of_role(
    backbone: Backbone, pairs: Pairs, *, top: int = 5, device: torch.device | str = "cpu"
) -> Recall:
    """Return R@`top` and dR@`top` of a backbone's own list of proposals on one role."""
    edges = predict_proposals(backbone, pairs, top=top, device=device)
    return recall_at(top, edges_to_seconds(edges, pairs), pairs)
