"""MRTNet (reconstruction): VSLNet with a multi-resolution module before the gate.

Only the abstract of MRTNet (arXiv 2212.13163) is public, without code or sizes: an encoder-decoder
over resolutions between trunk and predictor, and a loss on frames, clips and sequence inside it.
What is inside is refkd's own filling of that outline; it claims no identity with the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.backbone import BackboneOutput, SpanOutput, widened
from refkd.models.config import NetworkConfig
from refkd.models.layers import AttentionBlock, init_weights, mask_logits
from refkd.models.vslnet import EncoderHead, VSLNetTrunk, highlight_labels, highlight_loss

WINDOW, SIGMA = 11, 1.5
"""Width in clips and deviation of the Gaussian window of the structural similarity."""
C1, C2 = 1e-4, 9e-4
"""Its stabilising constants, (0.01)² and (0.03)² for values in [0, 1]."""


class MRTNetConfig(NetworkConfig):
    """Sizes and loss weights of the reconstruction; nothing of them is published.

    >>> MRTNetConfig().label
    'MRTNet (reconstruction)'
    """

    name: Literal["mrtnet"] = "mrtnet"
    """Which backbone this is: a reconstruction of MRTNet."""
    levels: int = Field(default=3, ge=0)
    """R, resolutions coarser than the clips', each half the one before; with 0 the network is
    VSLNet with the transformer predictor."""
    mrt_weight: float = Field(default=1.0, ge=0)
    """λ_mrt, weight of the hybrid loss."""
    frame_weight: float = Field(default=1.0, ge=0)
    """λ_f, weight of the frame term: VSLNet's highlight loss at every resolution."""
    clip_weight: float = Field(default=1.0, ge=0)
    """λ_c, weight of the clip term, 1 - structural similarity; 0 switches it off."""
    sequence_weight: float = Field(default=1.0, ge=0)
    """λ_q, weight of the sequence term, 1 - soft IoU; 0 switches it off."""

    @property
    def label(self) -> str:
        """What tables call this network."""
        return "MRTNet (reconstruction)"


class MRTNet(VSLNetTrunk):
    """The reconstruction: VSLNet's trunk, the module, a gate of its finest level, spans."""

    def __init__(self, config: MRTNetConfig, inputs: ModelInputs) -> None:
        super().__init__(config, inputs, cqa_bias=True)
        self.config = config
        self.resolutions = MultiResolution(config)
        self.scores = nn.ModuleList(nn.Linear(config.hidden, 1) for _ in range(config.levels + 1))
        init_weights(self)
        self.span_head = self.new_span_head()

    def forward(self, batch: Batch) -> SpanOutput:
        """Return span logits and features, and the logits z_r of every level as `own`."""
        clip_mask = batch.clip_mask
        levels = self.resolutions(self.fuse(batch), clip_mask)
        scores = [score(x).squeeze(2) for score, x in zip(self.scores, levels, strict=True)]
        gated = mask_logits(scores[0], clip_mask).sigmoid()[..., None] * levels[0]
        return SpanOutput(
            spans=self.span_head(gated, clip_mask),
            fused=gated,
            before_gate=levels[0],
            match=scores[0],
            own={f"level{r}": score for r, score in enumerate(scores)},
        )

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return λ_mrt times the hybrid loss, averaged over the levels."""
        labels, mask = highlight_labels(batch), batch.clip_mask
        losses = []
        for r in range(self.config.levels + 1):
            if r > 0:
                labels, mask = halved(labels), halved(mask)
            losses.append(self._hybrid_loss(output.own[f"level{r}"], labels, mask))
        return self.config.mrt_weight * torch.stack(losses).mean()

    def _hybrid_loss(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        config, loss = self.config, logits.new_zeros((), dtype=torch.float32)
        with torch.autocast(logits.device.type, enabled=False):
            scores = widened(logits).sigmoid() * mask
            targets = labels.to(scores.dtype)
            if config.frame_weight > 0:
                loss = loss + config.frame_weight * highlight_loss(logits, labels, mask)
            if config.clip_weight > 0:
                loss = loss + config.clip_weight * clip_loss(scores, targets, mask)
            if config.sequence_weight > 0:
                loss = loss + config.sequence_weight * sequence_loss(scores, targets)
        return loss

    def new_span_head(self) -> EncoderHead:
        """Return a fresh span predictor: one feature encoder, applied twice."""
        head = EncoderHead(self.config)
        init_weights(head)
        return head


class MultiResolution(nn.Module):
    """An encoder that halves the resolution R times, and a decoder that comes back."""

    def __init__(self, config: MRTNetConfig) -> None:
        super().__init__()
        hidden, levels = config.hidden, range(config.levels)

        def attention() -> AttentionBlock:
            return AttentionBlock(hidden, config.heads, dropout=config.dropout)

        self.down = nn.ModuleList(nn.Conv1d(hidden, hidden, 3, 2, padding=1) for _ in levels)
        self.encoders = nn.ModuleList(attention() for _ in levels)
        self.merges = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in levels)
        self.decoders = nn.ModuleList(attention() for _ in levels)

    def forward(self, fused: Tensor, mask: Tensor) -> list[Tensor]:
        """Return D_0 … D_R, (B, ⌈L / 2^r⌉, D), from F (B, L, D) and its mask; [F] for R = 0."""
        encoded, masks = [fused], [mask]
        for down, encoder in zip(self.down, self.encoders, strict=True):
            x = down((encoded[-1] * masks[-1][..., None]).transpose(1, 2)).transpose(1, 2)
            masks.append(halved(masks[-1]))
            encoded.append(encoder(x, masks[-1]))
        decoded = [encoded.pop()]
        steps: Iterator[tuple[nn.Module, nn.Module, Tensor, Tensor, Tensor]] = zip(
            self.merges, self.decoders, encoded, masks[:-1], masks[1:], strict=True
        )
        for merge, decoder, x, fine, coarse in reversed(list(steps)):
            finer = doubled(decoded[0], fine.shape[1], coarse.sum(dim=1))
            decoded.insert(0, decoder(merge(torch.cat([finer, x], dim=2)), fine))
        return decoded


def halved(mask: Tensor) -> Tensor:
    """Return (B, ⌈L / 2⌉) bool: whether either of two neighbours is true in (B, L)."""
    return F.pad(mask, (0, mask.shape[1] % 2)).view(len(mask), -1, 2).any(dim=2)


def doubled(x: Tensor, length: int, counts: Tensor) -> Tensor:
    """Return (B, length, D): (B, ⌈length / 2⌉, D) interpolated linearly to twice the resolution.

    Position centres lie half a step apart, as in torch's `interpolate`, but each row ends at its
    own `counts` (B,) positions, so that no padded one reaches a valid one.
    """
    fine = torch.arange(length, device=x.device)
    near = fine // 2
    beside = (near + 2 * (fine % 2) - 1).clamp(min=0).minimum(counts[:, None] - 1)
    neighbours = x.gather(1, beside[..., None].expand(-1, -1, x.shape[2]))
    return 0.75 * x[:, near] + 0.25 * neighbours


def clip_loss(scores: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return 1 - the mean structural similarity of (B, L) scores and targets on valid clips.

    Both are 0 on padded clips, and count as 0 beyond either end of a video.
    """
    steps = torch.arange(WINDOW, device=scores.device, dtype=scores.dtype) - WINDOW // 2
    weights = (-(steps**2) / (2 * SIGMA**2)).exp()
    weights = (weights / weights.sum())[None, None]

    def local(x: Tensor) -> Tensor:
        return F.conv1d(x[:, None], weights, padding=WINDOW // 2)[:, 0]

    mean_s, mean_t = local(scores), local(targets)
    variances = local(scores**2) - mean_s**2 + local(targets**2) - mean_t**2
    covariance = local(scores * targets) - mean_s * mean_t
    similarity = (2 * mean_s * mean_t + C1) * (2 * covariance + C2)
    similarity = similarity / ((mean_s**2 + mean_t**2 + C1) * (variances + C2))
    return 1 - (similarity * mask).sum() / mask.sum()


def sequence_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - the mean soft IoU of (B, L) scores and targets, both 0 on padded clips."""
    both = (scores * targets).sum(dim=1)
    return 1 - (both / ((scores + targets).sum(dim=1) - both)).mean()
