"""The student: a backbone with one side branch for each teacher, equation (7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from refkd.data.batch import Batch
from refkd.distill.config import DistillConfig
from refkd.distill.introspect import Role
from refkd.models.backbone import SpanBackbone, SpanHead, SpanLogits, SpanOutput
from refkd.models.layers import init_weights
from refkd.seeds import derive_seed


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentOutput:
    """One forward pass: the main head and what each side branch says."""

    main: SpanOutput
    side_id: SpanLogits
    side_ood: SpanLogits

    def sides(self) -> dict[Role, SpanLogits]:
        """Return what the side branches say by the teacher each follows, ID first."""
        return {"id": self.side_id, "ood": self.side_ood}


class SideBranch(nn.Module):
    """P'^k = softmax(SpanPredictor_k(Linear_k(f))), equation (7)."""

    def __init__(self, hidden: int, head: SpanHead | None) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, hidden)
        init_weights(self.linear)
        self.head = head

    def forward(self, fused: Tensor, clip_mask: Tensor, shared: SpanHead) -> SpanLogits:
        """Return logits (B, L); `shared` is used where the branch has no head of its own."""
        head = self.head if self.head is not None else shared
        return head(self.linear(fused), clip_mask)  # type: ignore[no-any-return]


class Student(nn.Module):
    """Backbone and side branches; for inference the backbone alone is kept.

    >>> import numpy as np
    >>> from refkd import VSLNetConfig, build_backbone
    >>> from refkd.data.inputs import ModelInputs
    >>> vectors = np.zeros((1, 300), np.float32)
    >>> inputs = ModelInputs(feature_dim=8, word_vectors=vectors, characters=5)
    >>> backbone = build_backbone(VSLNetConfig(hidden=16, heads=2), inputs, seed=0)
    >>> student = Student(backbone, DistillConfig(), seed=0)
    >>> [name for name, _ in student.named_children()]
    ['backbone', 'side_id', 'side_ood']
    """

    def __init__(self, backbone: SpanBackbone, config: DistillConfig, *, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "side branches"))
            self.side_id = self._branch()
            self.side_ood = self._branch()

    def forward(self, batch: Batch) -> StudentOutput:
        """Return main and side logits of a batch."""
        main: SpanOutput = self.backbone(batch)
        fused = main.fused if self.config.side_input == "fused" else main.before_gate
        if self.config.detach_side:
            fused = fused.detach()
        mask, head = batch.clip_mask, self.backbone.span_head
        return StudentOutput(
            main=main,
            side_id=self.side_id(fused, mask, head),
            side_ood=self.side_ood(fused, mask, head),
        )

    def _branch(self) -> SideBranch:
        own = self.config.side_predictor == "own"
        head = self.backbone.new_span_head() if own else None
        return SideBranch(self.backbone.hidden, head)
