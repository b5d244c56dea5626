"""SeqPAN: parallel attention with sequence matching (Zhang et al., Findings of ACL 2021).

Equal to 26hzhang/SeqPAN (TensorFlow 1) when its weights are copied, `mask_conv` is off and no
Gumbel noise is drawn. Its names map in order: f_ and s_ are `self_`, t_ and x_ are `cross_`, and
a bilinear map is two linear layers, `score_from` with its bias and `score_other` without one.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.attention import attend
from refkd.models.backbone import BackboneOutput, SpanBackbone, SpanOutput, widened
from refkd.models.config import NetworkConfig
from refkd.models.dropout import Dropout
from refkd.models.layers import (
    ContextQueryAttention,
    ConvBlock,
    Embedding,
    PositionTable,
    QueryConcat,
    init_weights,
    layer_norm,
    mask_logits,
)
from refkd.models.vslnet import EncoderHead

OUTSIDE, BEGIN, INSIDE, END = range(4)
"""The classes of a clip in sequence matching."""
EXTENSION = 1
"""Clips by which begin and end reach to both sides."""
SMOOTHING = 1e-10
"""Soft-label mass of every valid clip."""


class SeqPANConfig(NetworkConfig):
    """SeqPAN's sizes and switches; the defaults are the reference's.

    >>> SeqPANConfig(gumbel=False).tau
    0.3
    """

    name: Literal["seqpan"] = "seqpan"
    """Which backbone this is."""
    attention_layers: int = Field(default=2, ge=1)
    """Self-guided parallel attention blocks."""
    gumbel: bool = True
    """Divide the matching logits by tau and, in training, add Gumbel noise. The reference adds it
    in evaluation too; here evaluation is deterministic."""
    tau: float = Field(default=0.3, gt=0)
    """Temperature of the matching probabilities; used with `gumbel` alone."""
    match_weight: float = Field(default=1.0, ge=0)
    """Weight of the matching loss, the orthogonality of its labels included, in L_aux."""


class SeqPAN(SpanBackbone):
    """The network: one encoder and one attention stack for both sides, matching, spans."""

    def __init__(self, config: SeqPANConfig, inputs: ModelInputs) -> None:
        super().__init__()
        self.config = config
        self.hidden = hidden = config.hidden
        p = config.dropout
        self.embedding = Embedding(inputs, char_dim=config.char_dim, hidden=hidden, dropout=p)
        self.query_norm = layer_norm(hidden)
        self.video = nn.Linear(inputs.feature_dim, hidden)
        self.video_norm = layer_norm(hidden)
        self.positions = PositionTable(config.max_positions, hidden)
        self.conv = ConvBlock(hidden, dropout=p, mask_conv=config.mask_conv)
        self.attention = nn.ModuleList(
            ParallelAttention(hidden, config.heads, dropout=p)
            for _ in range(config.attention_layers)
        )
        self.query_to_video = ContextQueryAttention(hidden, dropout=p, bias=False)
        self.video_to_query = ContextQueryAttention(hidden, dropout=p, bias=False)
        self.concat = QueryConcat(hidden)
        self.match = nn.Linear(hidden, 4)
        self.labels = nn.Parameter(torch.empty(4, hidden))
        self.dropout = Dropout(p)
        init_weights(self)
        nn.init.orthogonal_(self.labels)
        self.span_head = self.new_span_head()

    def forward(self, batch: Batch) -> SpanOutput:
        """Return span logits (B, L), features (B, L, D), and `own["classes"]` (B, L, 4)."""
        clip_mask = batch.clip_mask
        before = self.fuse(batch)
        logits = widened(self.match(before))
        tau = self.config.tau if self.config.gumbel else 1.0
        scaled = classes = logits / tau
        if self.config.gumbel and self.training:
            classes = scaled + gumbel_noise(logits) / tau
        probabilities = classes.softmax(dim=2).to(before.dtype)
        fused = (before + probabilities @ self.labels) * clip_mask[..., None]
        return SpanOutput(
            spans=self.span_head(fused, clip_mask),
            fused=fused,
            before_gate=before,
            match=scaled[..., BEGIN:].logsumexp(dim=2) - scaled[..., OUTSIDE],
            own={"classes": classes},
        )

    def fuse(self, batch: Batch) -> Tensor:
        """Return F (B, L, D): clips that know the query."""
        clip_mask, word_mask = batch.clip_mask, batch.word_mask
        video = self.video_norm(self.video(self.dropout(batch.features)))
        query = self.query_norm(self.embedding(batch))
        video = self.conv(self.positions(video), clip_mask)
        query = self.conv(self.positions(query), word_mask)
        for block in self.attention:
            video, query = (
                block(video, query, clip_mask, word_mask),
                block(query, video, word_mask, clip_mask),
            )
        for_video = self.query_to_video(video, query, clip_mask, word_mask)
        for_query = self.video_to_query(query, video, word_mask, clip_mask)
        return self.concat(for_video, for_query, word_mask)  # type: ignore[no-any-return]

    def span_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the cross-entropy with soft labels around both boundaries, summed over both."""
        losses = batch.features.new_zeros(())
        for logits, index in ((output.spans.start, batch.start), (output.spans.end, batch.end)):
            log_p = widened(logits).log_softmax(dim=1)
            labels = soft_labels(index, batch.clip_mask).to(log_p.dtype)
            losses = losses - (labels * log_p).sum(dim=1).mean()
        return losses

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the weighted matching loss: CE over valid clips, and the labels' overlap."""
        labels = match_labels(batch)[batch.clip_mask]
        matching = F.cross_entropy(output.own["classes"][batch.clip_mask], labels)
        return self.config.match_weight * (matching + overlap(self.labels))

    def new_span_head(self) -> EncoderHead:
        """Return a fresh span predictor: one feature encoder, applied twice."""
        head = EncoderHead(self.config, mask_rows=True)
        init_weights(head)
        return head


class ParallelAttention(nn.Module):
    """Self-guided parallel attention: of a sequence to itself and to another, each gating the
    other, then a value that the sequence and the result gate together."""

    def __init__(self, hidden: int, heads: int, *, dropout: float) -> None:
        super().__init__()

        def linear(*, bias: bool = True) -> nn.Linear:
            return nn.Linear(hidden, hidden, bias=bias)

        self.heads = heads
        self.norm1, self.norm_other, self.norm2 = (layer_norm(hidden) for _ in range(3))
        self.query, self.self_key, self.self_value = linear(), linear(), linear()
        self.cross_key, self.cross_value = linear(), linear()
        self.self_out, self.cross_out = linear(), linear()
        self.self_gate, self.cross_gate = linear(), linear()
        self.guided = linear()
        self.score_from, self.score_other = linear(), linear(bias=False)
        self.value_from, self.value_other = linear(), linear(bias=False)
        self.linear1, self.linear2 = linear(), linear()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor, other_mask: Tensor) -> Tensor:
        """Return (B, L, D) from (B, L, D), the other (B, M, D) and their masks."""
        source = self.norm1(x)
        guided = self.guided(self._gated(source, self.norm_other(other), mask, other_mask))
        score = self.score_from(source) + self.score_other(guided)
        value = self.value_from(source) + self.value_other(guided)
        chosen = mask_logits(score, mask[..., None]).sigmoid() * value
        residual = x + self.dropout(self.linear1(chosen))
        return residual + self.dropout(  # type: ignore[no-any-return]
            self.linear2(self.dropout(self.norm2(residual)))
        )

    def _gated(self, source: Tensor, other: Tensor, mask: Tensor, other_mask: Tensor) -> Tensor:
        query = self.query(source)
        own = self.self_out(
            self._attend(query, self.self_key(source), self.self_value(source), mask)
        )
        cross = self.cross_out(
            self._attend(query, self.cross_key(other), self.cross_value(other), other_mask)
        )
        own_gate, cross_gate = self.self_gate(own).sigmoid(), self.cross_gate(cross).sigmoid()
        return own_gate * cross + cross_gate * own  # type: ignore[no-any-return]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, keys: Tensor) -> Tensor:
        return attend(query, key, value, keys[:, None], heads=self.heads, dropout=self.dropout)


def soft_labels(index: Tensor, mask: Tensor) -> Tensor:
    """Return (B, L) float64 labels: half on a boundary, a quarter on either neighbour.

    A missing neighbour's quarter goes to the boundary itself. Each row sums to 1, up to 2e-10.
    """
    count = mask.sum(dim=1)
    quarter = ((0.5 - count.double() * SMOOTHING) / 2)[:, None]
    distance = (torch.arange(mask.shape[1], device=mask.device) - index[:, None]).abs()
    missing = (index == 0).double() + (index == count - 1).double()
    centre = SMOOTHING + 0.5 + missing[:, None] * quarter
    labels = torch.where(distance == 1, quarter, torch.where(distance == 0, centre, SMOOTHING))
    return labels * mask


def match_labels(batch: Batch) -> Tensor:
    """Return (B, L) int64 classes: begin and end reach one clip further, inside lies between.

    Where both would meet, begin yields, down to its own clip; end is written last.
    """
    positions = torch.arange(batch.features.shape[1], device=batch.clips.device)
    start, end = batch.start[:, None], batch.end[:, None]
    end_first = (end - EXTENSION).clamp(min=0)
    begin_last = torch.where(
        start + EXTENSION >= end_first, torch.maximum(start, end_first - 1), start + EXTENSION
    )
    labels = torch.full_like(batch.clip_mask, OUTSIDE, dtype=torch.int64)
    labels[(positions >= start - EXTENSION) & (positions <= begin_last)] = BEGIN
    labels[(positions > begin_last) & (positions < end_first)] = INSIDE
    labels[(positions >= end_first) & (positions <= end + EXTENSION)] = END
    return labels.masked_fill(~batch.clip_mask, OUTSIDE)


def overlap(labels: Tensor) -> Tensor:
    """Return ‖(E Eᵀ) ∘ (1 − I)‖ (Frobenius): 0 where all label vectors are orthogonal."""
    with torch.autocast(labels.device.type, enabled=False):
        products = labels @ labels.T
        norm: Tensor = torch.linalg.matrix_norm(products - torch.diag(products.diag()))
        return norm


def gumbel_noise(like: Tensor) -> Tensor:
    """Draw standard Gumbel noise from torch's global generator."""
    uniform = torch.rand_like(like).clamp_min(torch.finfo(like.dtype).tiny)
    return -(-uniform.log()).log()
