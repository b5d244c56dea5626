"""VSLNet: span-based localisation with query-guided highlighting (Zhang et al., ACL 2020).

Equal to the PyTorch code of 26hzhang/VSLNet when its weights are copied and `mask_conv` is off;
with the default switches a pair's logits depend neither on padding nor on its batch mates.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.backbone import BackboneOutput, SpanBackbone, SpanHead, SpanLogits, SpanOutput
from refkd.models.config import NetworkConfig
from refkd.models.dropout import Dropout
from refkd.models.layers import (
    ContextQueryAttention,
    Embedding,
    FeatureEncoder,
    QueryConcat,
    init_weights,
    layer_norm,
    mask_logits,
)

FOREGROUND_WEIGHT = 2.0
EXTENSION = 0.1
"""Share of a moment's length by which the highlighted region reaches over both its ends."""


class VSLNetConfig(NetworkConfig):
    """VSLNet's sizes and switches; the defaults are RefKD's (section 4) and the reference's.

    >>> VSLNetConfig(predictor="transformer").hidden
    128
    """

    name: Literal["vslnet"] = "vslnet"
    """Which backbone this is."""
    predictor: Literal["rnn", "transformer"] = "rnn"
    """The span predictor: two LSTMs, or one feature encoder shared by start and end."""
    highlight_weight: float = Field(default=5.0, ge=0)
    """Weight of the highlight loss in L_aux."""
    cqa_bias: bool = True
    """Bias in the context-query attention (the PyTorch reference has one, TensorFlow's none)."""


class VSLNetTrunk(SpanBackbone):
    """What comes before the gate: encoders, context-query attention, the query on every clip."""

    def __init__(self, config: NetworkConfig, inputs: ModelInputs, *, cqa_bias: bool) -> None:
        super().__init__()
        self.hidden = config.hidden
        p = config.dropout
        self.embedding = Embedding(
            inputs, char_dim=config.char_dim, hidden=config.hidden, dropout=p
        )
        self.video = nn.Linear(inputs.feature_dim, config.hidden)
        self.encoder = _encoder(config)
        self.attention = ContextQueryAttention(config.hidden, dropout=p, bias=cqa_bias)
        self.concat = QueryConcat(config.hidden)
        self.dropout = Dropout(p)

    def fuse(self, batch: Batch) -> Tensor:
        """Return F (B, L, D): clips that know the query."""
        clip_mask, word_mask = batch.clip_mask, batch.word_mask
        video = self.encoder(self.video(self.dropout(batch.features)), clip_mask)
        query = self.encoder(self.embedding(batch), word_mask)
        fused = self.attention(video, query, clip_mask, word_mask)
        return self.concat(fused, query, word_mask)  # type: ignore[no-any-return]


class VSLNet(VSLNetTrunk):
    """The network: the trunk, a highlight that gates it, and the span predictor."""

    def __init__(self, config: VSLNetConfig, inputs: ModelInputs) -> None:
        super().__init__(config, inputs, cqa_bias=config.cqa_bias)
        self.config = config
        self.highlight = nn.Linear(config.hidden, 1)
        init_weights(self)
        self.span_head = self.new_span_head()

    def forward(self, batch: Batch) -> SpanOutput:
        """Return span logits (B, L), fused features (B, L, D) and highlight logits (B, L)."""
        clip_mask, fused = batch.clip_mask, self.fuse(batch)
        match = self.highlight(fused).squeeze(2)
        gated = mask_logits(match, clip_mask).sigmoid()[..., None] * fused
        return SpanOutput(
            spans=self.span_head(gated, clip_mask), fused=gated, before_gate=fused, match=match
        )

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the weighted highlight loss: BCE on the extended moment, foreground twice."""
        labels = highlight_labels(batch)
        return self.config.highlight_weight * highlight_loss(output.match, labels, batch.clip_mask)

    def new_span_head(self) -> SpanHead:
        """Return a fresh conditioned span predictor."""
        head = RnnHead(self.config) if self.config.predictor == "rnn" else EncoderHead(self.config)
        init_weights(head)
        return head


class _TwoLogits(SpanHead):
    """The last step of both predictors: [A_b ; F] to one logit a clip."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.start = _logit_block(hidden)
        self.end = _logit_block(hidden)

    def _logits(self, start: Tensor, end: Tensor, fused: Tensor, mask: Tensor) -> SpanLogits:
        start_logits = self.start(torch.cat([start, fused], dim=2)).squeeze(2)
        end_logits = self.end(torch.cat([end, fused], dim=2)).squeeze(2)
        return SpanLogits(start=mask_logits(start_logits, mask), end=mask_logits(end_logits, mask))


class RnnHead(_TwoLogits):
    """Conditioned span predictor of two LSTMs: the end reads what the start has found."""

    def __init__(self, config: VSLNetConfig) -> None:
        super().__init__(config.hidden)
        self.start_rnn = nn.LSTM(config.hidden, config.hidden, batch_first=True)
        self.end_rnn = nn.LSTM(config.hidden, config.hidden, batch_first=True)

    def forward(self, fused: Tensor, clip_mask: Tensor) -> SpanLogits:
        """Return masked logits (B, L)."""
        valid = clip_mask[..., None]
        start = self.start_rnn(fused)[0] * valid
        end = self.end_rnn(start)[0] * valid
        return self._logits(start, end, fused, clip_mask)


class EncoderHead(_TwoLogits):
    """Conditioned span predictor of one feature encoder, applied twice."""

    def __init__(self, config: NetworkConfig, *, mask_rows: bool = False) -> None:
        super().__init__(config.hidden)
        self.encoder = _encoder(config, mask_rows=mask_rows)
        self.start_norm = layer_norm(config.hidden)
        self.end_norm = layer_norm(config.hidden)

    def forward(self, fused: Tensor, clip_mask: Tensor) -> SpanLogits:
        """Return masked logits (B, L)."""
        start = self.encoder(fused, clip_mask)
        end = self.encoder(start, clip_mask)
        return self._logits(self.start_norm(start), self.end_norm(end), fused, clip_mask)


def highlight_labels(batch: Batch) -> Tensor:
    """Return (B, L) bool: the moment, reaching over both ends by a tenth of its length.

    The reach is rounded half to even, so a moment of up to 5 clips is not extended.
    """
    reach = torch.round(EXTENSION * (batch.end - batch.start + 1).double()).long()
    first, last = batch.start - reach, batch.end + reach
    positions = torch.arange(batch.features.shape[1], device=batch.clips.device)
    inside = (positions >= first[:, None]) & (positions <= last[:, None])
    return inside & batch.clip_mask


def highlight_loss(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Return BCE over all valid clips of the batch, foreground clips counted twice.

    Taken on probabilities, as the reference does: a saturated wrong clip costs 100 and gets no
    gradient. In float32 even under autocast, which refuses this loss in half precision.
    """
    with torch.autocast(logits.device.type, enabled=False):
        wide = logits if logits.dtype == torch.float64 else logits.float()
        targets = labels.to(wide.dtype)
        weights = (1.0 + (FOREGROUND_WEIGHT - 1.0) * targets) * mask
        # torch refuses NaN here; it is let through, so that the trainer can say what happened.
        probabilities = wide.sigmoid().nan_to_num(0.5)
        losses = F.binary_cross_entropy(probabilities, targets, reduction="none")
        losses = torch.where(wide.isnan(), wide, losses)
        return (losses * weights).sum() / mask.sum()


def _logit_block(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def _encoder(config: NetworkConfig, *, mask_rows: bool = False) -> FeatureEncoder:
    return FeatureEncoder(
        config.hidden,
        config.heads,
        positions=config.max_positions,
        dropout=config.dropout,
        mask_conv=config.mask_conv,
        mask_rows=mask_rows,
    )
