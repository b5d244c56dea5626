"""QAVE: query-aware video encoding with a match head (Hao et al., ECCV 2022).

Written from a description, as the source has no licence; names follow its order: sentence, video
encoder, match, span. The weights of a bidirectional LSTM map as `refkd.models.recurrent` says.

Shapes: B pairs, T clips, N words, H `hidden`; a clip has 2H features, with its query 4H.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.backbone import (
    NEGATIVE,
    BackboneOutput,
    Proposals,
    SpanBackbone,
    SpanHead,
    SpanLogits,
    SpanOutput,
    widened,
)
from refkd.models.config import NamedConfig
from refkd.models.decode import top_spans
from refkd.models.layers import WordEmbedding, init_weights, mask_logits
from refkd.models.recurrent import BiLSTM, final_states

BLOCKS = 2
"""Blocks of the video encoder."""
RNN_LAYERS = 2
"""Layers of each bidirectional LSTM."""


class QAVEConfig(NamedConfig):
    """QAVE's sizes; the defaults are the source's.

    >>> QAVEConfig().hidden
    256
    """

    name: Literal["qave"] = "qave"
    """Which backbone this is."""
    hidden: int = Field(default=256, ge=1)
    """H, the width of one direction of each LSTM; a clip with its query has 4H features."""
    span_hidden: int = Field(default=256, ge=1)
    """Hidden width of the span predictor."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """p, the share of activations dropped between the layers of an LSTM in training."""
    match_weight: float = Field(default=1.0, ge=0)
    """Weight of the match loss in L_aux; 0 where a recipe adds a match loss of its own."""


class QAVE(SpanBackbone):
    """The network: every clip reads the words that matter to it, then asks if they match."""

    def __init__(self, config: QAVEConfig, inputs: ModelInputs) -> None:
        super().__init__()
        self.config = config
        self.hidden = 4 * config.hidden
        self.words = WordEmbedding(inputs, dropout=0.0)
        self.word_linear = nn.Linear(self.words.width, self.words.width)
        self.sentence = _rnn(self.words.width, config)
        widths = [inputs.feature_dim] + [2 * config.hidden] * (BLOCKS - 1)
        self.video = nn.ModuleList(VideoBlock(width, config) for width in widths)
        self.video_norm = nn.LayerNorm(2 * config.hidden)  # torch's epsilon, as the source
        self.match = nn.Sequential(
            nn.Linear(self.hidden, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1)
        )
        init_weights(self)
        self.span_head = self.new_span_head()

    def forward(self, batch: Batch) -> SpanOutput:
        """Return span and match logits (B, T) and features (B, T, 4H).

        `own["video"]` holds F, the encoded video (B, T, 2H) that an order head reads.
        """
        clip_mask, word_mask = batch.clip_mask, batch.word_mask
        words = self.sentence(self.word_linear(self.words.look_up(batch)), word_mask)
        query = final_states(words, word_mask)
        video = batch.features
        for block in self.video:
            video = block(video, words, clip_mask, word_mask)
        video = self.video_norm(video)
        crossed = torch.cat([video, query[:, None].expand(-1, video.shape[1], -1)], dim=2)
        match = self.match(crossed).squeeze(2)
        fused = match[..., None] * crossed
        return SpanOutput(
            spans=self.span_head(fused, clip_mask),
            fused=fused,
            before_gate=crossed,
            match=match,
            own={"video": video},
        )

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the weighted match loss (L_intra on the pair itself), over all valid clips."""
        clips = torch.arange(output.match.shape[1], device=output.match.device)
        inside = (clips >= batch.start[:, None]) & (clips <= batch.end[:, None])
        logits, mask = widened(output.match), batch.clip_mask
        losses = F.binary_cross_entropy_with_logits(
            logits, inside.to(logits.dtype), reduction="none"
        )
        return self.config.match_weight * (losses * mask).sum() / mask.sum()

    def proposals(self, output: BackboneOutput, batch: Batch, *, top: int = 1) -> Proposals:
        """Return the `top` spans of each pair: those of the largest sum P_s + P_e, s <= e."""
        p_start = _probabilities(output.spans.start, batch.clip_mask)
        p_end = _probabilities(output.spans.end, batch.clip_mask)
        start, end, total, spare = top_spans(p_start, p_end, top)
        edges = torch.stack([start, end + 1], dim=2).float()
        return Proposals(edges=edges, score=total.to(p_start.dtype).masked_fill(spare, 0.0))

    def new_span_head(self) -> SpanHead:
        """Return a fresh span predictor."""
        return PointwiseHead(self.hidden, self.config.span_hidden)


class VideoBlock(nn.Module):
    """A bidirectional LSTM over the clips, gated by what each clip reads in the query."""

    def __init__(self, width: int, config: QAVEConfig) -> None:
        super().__init__()
        both = 2 * config.hidden
        self.rnn = _rnn(width, config)
        self.of_word = nn.Linear(both, both, bias=False)
        self.of_clip = nn.Linear(both, both)
        self.weigh = nn.Linear(both, 1, bias=False)
        self.gate = nn.Linear(both, both)

    def forward(
        self, video: Tensor, words: Tensor, clip_mask: Tensor, word_mask: Tensor
    ) -> Tensor:
        """Return (B, T, 2H) from clips (B, T, ·) and words (B, N, 2H)."""
        clips = self.rnn(video, clip_mask)
        mixed = torch.tanh(self.of_word(words)[:, None] + self.of_clip(clips)[:, :, None])
        scores = mask_logits(self.weigh(mixed).squeeze(3), word_mask[:, None])
        read = scores.softmax(dim=2) @ words
        return clips * self.gate(read).sigmoid()  # type: ignore[no-any-return]


class PointwiseHead(SpanHead):
    """A span predictor that looks at one clip at a time: two small networks with tanh."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.start = _pointwise(width, hidden)
        self.end = _pointwise(width, hidden)
        init_weights(self)

    def forward(self, fused: Tensor, clip_mask: Tensor) -> SpanLogits:
        """Return masked logits (B, T)."""
        return SpanLogits(
            start=mask_logits(self.start(fused).squeeze(2), clip_mask),
            end=mask_logits(self.end(fused).squeeze(2), clip_mask),
        )


def _pointwise(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))


def _rnn(width: int, config: QAVEConfig) -> BiLSTM:
    return BiLSTM(width, config.hidden, layers=RNN_LAYERS, dropout=config.dropout)


def _probabilities(logits: Tensor, mask: Tensor) -> Tensor:
    """Return softmax probabilities, `NEGATIVE` on padded clips so that no span ends there.

    Summed in float64: in float32 their last digit, and with it a tie, depends on the padding.
    """
    p = logits.double().softmax(dim=1).to(widened(logits).dtype)
    return p.masked_fill(~mask, NEGATIVE)
