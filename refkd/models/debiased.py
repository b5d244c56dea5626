"""A backbone with bias branches beside it (Zhang et al., 2021b; a reconstruction).

The branches say where a moment would be expected from the video or the query alone. In training
their logits are fused with the backbone's, which is so pushed to what neither tells; b is a
boundary, z^m, z^v and z^q are the logits of backbone, video and query.

| mode | trained | used |
| --- | --- | --- |
| rubi | z = z^m σ(c_v(z^v)) σ(c_q(z^q)) | z^m |
| poe | z = log p^m + sg[log p^v + log p^q] | z^m |
| learned_mixin | z = log p^m + g sg[log p^v + log p^q], g = softplus(w·h) | z^m |
| counterfactual | as rubi | z^m - α (z^v + z^q) |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.backbone import (
    Backbone,
    BackboneOutput,
    Proposals,
    SpanBackbone,
    SpanLogits,
    SpanOutput,
    span_cross_entropy,
    widened,
)
from refkd.models.bias import QueryBias, VideoBias, masked_mean
from refkd.models.decode import PADDED
from refkd.models.layers import mask_logits

BiasMode = Literal["rubi", "poe", "learned_mixin", "counterfactual"]
BOUNDARIES = ("start", "end")
BRANCHES = ("video", "query")
WIDEST = 128
"""Width of the branches where the backbone is not narrower."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Debiasing:
    """How bias branches are used."""

    mode: BiasMode
    alpha_v: float = 1.0
    """Weight of CE(z^v)."""
    alpha_q: float = 1.0
    """Weight of CE(z^q)."""
    w_entropy: float = 0.0
    """w_H, the weight of the entropy of softmax(g · log p^bias) in `learned_mixin`."""
    alpha: float = 0.0
    """α, the share of the bias that `counterfactual` takes off."""


class Debiased(Backbone):
    """Backbone and bias branches: fused logits in training, the debiased ones in evaluation."""

    def __init__(self, main: SpanBackbone, inputs: ModelInputs, settings: Debiasing) -> None:
        super().__init__()
        self.main = main
        self.settings = settings
        width = min(main.hidden, WIDEST)
        self.video = VideoBias(inputs, width=width)
        self.query = QueryBias(inputs, width=width)
        if settings.mode == "learned_mixin":
            self.gate = nn.Linear(main.hidden, len(BOUNDARIES), bias=False)
        elif settings.mode != "poe":
            self.scale = nn.Parameter(torch.ones(2, len(BOUNDARIES)))
            self.shift = nn.Parameter(torch.zeros(2, len(BOUNDARIES)))

    @property
    def kept(self) -> Backbone:
        """What a trained network is used by: the backbone alone, unless the bias is taken off."""
        return self if self.settings.mode == "counterfactual" else self.main

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Hand on which epoch begins."""
        self.main.begin_epoch(epoch, epochs)

    def forward(self, batch: Batch) -> SpanOutput:
        """Return the backbone's output with the mode's logits (B, L) in the place of its own.

        `own` holds z^v and z^q beside, and g (log p^v + log p^q) where they are added.
        """
        main: SpanOutput = self.main(batch)
        branches = {"video": self.video(batch), "query": self.query(batch)}
        own = {f"bias_{n}_{b}": getattr(z, b) for n, z in branches.items() for b in BOUNDARIES}
        if self.settings.mode in ("poe", "learned_mixin"):
            own |= self._expected(main, own, batch.clip_mask)
        fuse = self._fused if self.training else self._used
        logits = {
            b: mask_logits(fuse(b, widened(getattr(main.spans, b)), own), batch.clip_mask)
            for b in BOUNDARIES
        }
        return replace(main, spans=SpanLogits(**logits), own={**main.own, **own})

    def span_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return L(z) + α_v CE(z^v) + α_q CE(z^q), and the entropy's share in `learned_mixin`."""
        settings, loss = self.settings, self.main.span_loss(output, batch)
        for name, weight in (("video", settings.alpha_v), ("query", settings.alpha_q)):
            bias = SpanLogits(**{b: output.own[f"bias_{name}_{b}"] for b in BOUNDARIES})
            loss = loss + weight * span_cross_entropy(bias, batch)
        if settings.mode == "learned_mixin":
            for b in BOUNDARIES:
                log_p = output.own[f"bias_expected_{b}"].log_softmax(dim=1)
                loss = loss - settings.w_entropy * (log_p.exp() * log_p).sum(dim=1).mean()
        return loss

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the backbone's own losses."""
        return self.main.auxiliary_loss(output, batch)

    def proposals(self, output: BackboneOutput, batch: Batch, *, top: int = 1) -> Proposals:
        """Return the `top` spans as the backbone decodes them, from the mode's logits."""
        return self.main.proposals(output, batch, top=top)

    def _fused(self, boundary: str, z: Tensor, own: Mapping[str, Tensor]) -> Tensor:
        """Return (B, L) logits for training, still to be masked."""
        if self.settings.mode in ("poe", "learned_mixin"):
            return z.log_softmax(dim=1) + own[f"bias_expected_{boundary}"]
        # Gated as they are, masked logits would be finite and without gradient: opened first.
        padded = z <= PADDED
        z = z.masked_fill(padded, 0.0)
        for row, branch in enumerate(BRANCHES):
            bias = widened(own[f"bias_{branch}_{boundary}"]).masked_fill(padded, 0.0)
            column = BOUNDARIES.index(boundary)
            z = z * torch.sigmoid(self.scale[row, column] * bias + self.shift[row, column])
        return z

    def _used(self, boundary: str, z: Tensor, own: Mapping[str, Tensor]) -> Tensor:
        """Return (B, L) logits for evaluation, still to be masked."""
        if self.settings.mode != "counterfactual":
            return z
        video, query = (widened(own[f"bias_{n}_{boundary}"]) for n in BRANCHES)
        return z - self.settings.alpha * (video + query)

    def _expected(
        self, main: SpanOutput, own: Mapping[str, Tensor], mask: Tensor
    ) -> dict[str, Tensor]:
        """Return g sg[log p^v + log p^q] by boundary; g = softplus(w·h), or 1 in `poe`.

        h is the mean fused clip.
        """
        found = {}
        for column, b in enumerate(BOUNDARIES):
            video, query = (widened(own[f"bias_{n}_{b}"]).log_softmax(dim=1) for n in BRANCHES)
            expected = (video + query).masked_fill(~mask, 0.0).detach()
            if self.settings.mode == "learned_mixin":
                h = masked_mean(main.fused, mask)
                expected = F.softplus(widened(self.gate(h)[:, column, None])) * expected
            found[f"bias_expected_{b}"] = mask_logits(expected, mask)
        return found


__all__ = ["BiasMode", "Debiased", "Debiasing"]
