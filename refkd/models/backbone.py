"""What a backbone promises, whatever its network is.

Letters in shapes: B pairs, L clips (padded), D hidden size, K spans kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.models.decode import decode_top

NEGATIVE = -1e30
"""Logit of a padded clip: finite, so that 0 · logit is 0 and no KL becomes NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanLogits:
    """(B, L) logits of the first and the last clip, `NEGATIVE` on padded clips."""

    start: Tensor
    end: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneOutput:
    """One forward pass: what the network says of a batch, and what its own losses need."""

    spans: SpanLogits
    match: Tensor
    """(B, L) logits, one a clip: is it inside the moment? Not masked."""
    own: Mapping[str, Tensor] = field(default_factory=dict)
    """What the backbone's own losses and its decoding read beside that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanOutput(BackboneOutput):
    """The forward pass of a backbone with a span predictor."""

    fused: Tensor
    """(B, L, D), f of equation (7): the features that enter the main span predictor."""
    before_gate: Tensor
    """(B, L, D), the features before the backbone's gate; equal to `fused` where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposals:
    """Each row's best spans, best first."""

    edges: Tensor
    """(B, K, 2) float: where a span begins and ends, in clips from the start of its video."""
    score: Tensor
    """(B, K), what the span is worth to the network; in a row comparable, and never rising."""


class Backbone(nn.Module, ABC):
    """From a batch to span logits; owns its config, its losses and its decoding.

    A pair's logits depend neither on padding nor on the other pairs of its batch (with default
    switches, in evaluation mode), which is what makes cached knowledge exact.
    """

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Learn which epoch of how many begins, counted from 0; only schedules need it."""

    @abstractmethod
    def forward(self, batch: Batch) -> BackboneOutput:
        """Return logits of a batch; `batch.start` and `batch.end` are not read."""

    def span_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the scalar L_span; here Σ_b CE(I_b, P_b), averaged over the batch."""
        return span_cross_entropy(output.spans, batch)

    @abstractmethod
    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the scalar L_aux: the backbone's own losses beside `span_loss`."""

    def proposals(self, output: BackboneOutput, batch: Batch, *, top: int = 1) -> Proposals:
        """Return the `top` spans of each pair; here those of the largest P_s · P_e, s <= e."""
        spans = output.spans
        start, end, score = decode_top(widened(spans.start), widened(spans.end), top)
        return Proposals(edges=torch.stack([start, end + 1], dim=2).float(), score=score)


class SpanHead(nn.Module, ABC):
    """A span predictor: fused features to start and end logits."""

    @abstractmethod
    def forward(self, fused: Tensor, clip_mask: Tensor) -> SpanLogits:
        """Return masked logits (B, L) from features (B, L, D) and a bool mask (B, L)."""


class SpanBackbone(Backbone):
    """A backbone with a span predictor on fused features: what a student can be made of."""

    hidden: int
    """D, the width of `SpanOutput.fused`."""

    span_head: SpanHead
    """The main span predictor."""

    @abstractmethod
    def forward(self, batch: Batch) -> SpanOutput:
        """Return logits and features of a batch."""

    @abstractmethod
    def new_span_head(self) -> SpanHead:
        """Return a fresh span predictor of the same kind, for a side branch (equation 7)."""


def span_cross_entropy(spans: SpanLogits, batch: Batch) -> Tensor:
    """Return Σ_b CE(I_b, P_b), averaged over the batch, in float32 or wider."""
    start = F.cross_entropy(widened(spans.start), batch.start)
    return start + F.cross_entropy(widened(spans.end), batch.end)


def widened(tensor: Tensor) -> Tensor:
    """Return the tensor in at least float32, for losses under autocast."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
