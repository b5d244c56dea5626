"""What a backbone promises, whatever its network is.

Letters in shapes: B pairs, L clips (padded), D hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from refkd.data.batch import Batch

NEGATIVE = -1e30
"""Logit of a padded clip: finite, so that 0 · logit is 0 and no KL becomes NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanLogits:
    """(B, L) logits of the first and the last clip, `NEGATIVE` on padded clips."""

    start: Tensor
    end: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneOutput:
    """One forward pass: what the main head says and what the losses need."""

    spans: SpanLogits
    fused: Tensor
    """(B, L, D), f of equation (7): the features that enter the main span predictor."""
    before_gate: Tensor
    """(B, L, D), the features before the backbone's gate; equal to `fused` where it has none."""
    match: Tensor
    """(B, L) logits, one a clip: is it inside the moment? Not masked."""


class SpanHead(nn.Module, ABC):
    """A span predictor: fused features to start and end logits."""

    @abstractmethod
    def forward(self, fused: Tensor, clip_mask: Tensor) -> SpanLogits:
        """Return masked logits (B, L) from features (B, L, D) and a bool mask (B, L)."""


class Backbone(nn.Module, ABC):
    """From a batch to span logits; owns its config, its auxiliary losses and its span heads.

    A pair's logits depend neither on padding nor on the other pairs of its batch (with default
    switches, in evaluation mode), which is what makes cached knowledge exact.
    """

    hidden: int
    """D, the width of `BackboneOutput.fused`."""

    span_head: SpanHead
    """The main span predictor."""

    @abstractmethod
    def forward(self, batch: Batch) -> BackboneOutput:
        """Return logits and features of a batch."""

    @abstractmethod
    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the scalar L_aux: the backbone's own losses beside the span cross-entropy."""

    @abstractmethod
    def new_span_head(self) -> SpanHead:
        """Return a fresh span predictor of the same kind, for a side branch (equation 7)."""
