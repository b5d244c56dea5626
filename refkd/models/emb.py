"""EMB: a boundary branch and a proposal branch with elastic labels (Huang et al., ECCV 2022).

The names of the encoder's layers are those of Raymond-sci/EMB; its kernel-1 convolutions are
linear maps here. With weights copied and `reference_quirks` the outputs are the reference's, but
for proposals beside padded clips, which the reference lets into the guides.

Shapes: B pairs, T clips, M words, N proposals (runs of blocks), D hidden size.
"""

from __future__ import annotations

from dataclasses import replace
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
    SpanBackbone,
    SpanHead,
    SpanLogits,
    SpanOutput,
    widened,
)
from refkd.models.blocks import (
    BlockGrid,
    Ranker,
    block_grid,
    block_maxima,
    proposal_features,
    proposal_guides,
)
from refkd.models.config import AttentionConfig
from refkd.models.dropout import Dropout
from refkd.models.elastic import elastic_loss, iou_threshold, rank_labels, trusted_spans
from refkd.models.guided import AttentionLayer, GuidedAttentionLayer, clip_guides
from refkd.models.layers import (
    ContextQueryAttention,
    QueryConcat,
    SinePositions,
    WordEmbedding,
    character_convolutions,
    init_weights,
    mask_logits,
)
from refkd.models.recurrent import BiLSTM
from refkd.models.vslnet import highlight_labels, highlight_loss

CLIP_KERNEL = 7
"""Clips that the guides of clips are convolved over."""
UNUSED_CHAR_DIM = 50
"""Width of the character embedding that the reference has and never reads."""


class EMBConfig(AttentionConfig):
    """EMB's sizes and switches; the defaults are the reference's.

    >>> EMBConfig().block
    8
    """

    name: Literal["emb"] = "emb"
    """Which backbone this is."""
    block: int = Field(default=8, ge=1)
    """Clips a block; proposals are runs of blocks."""
    ranker_layers: int = Field(default=1, ge=1)
    """Convolutions of the ranker (the reference's class has 4, its training script sets 1)."""
    highlight_weight: float = Field(default=5.0, ge=0)
    """Weight of the highlight loss in L_aux."""
    rank_weight: float = Field(default=1.0, ge=0)
    """Weight of the ranking loss in L_aux."""
    reference_quirks: bool = False
    """Do as the reference where it seems to err: see `docs/method.md`, Backbones."""


class EMB(SpanBackbone):
    """The network; the numbers in `forward` are the steps of its encoder."""

    def __init__(self, config: EMBConfig, inputs: ModelInputs) -> None:
        super().__init__()
        self.config = config
        self.hidden = d = config.hidden
        p = config.dropout
        self.words = WordEmbedding(inputs, dropout=p)
        self.word_linear = nn.Linear(self.words.width, d)
        if config.reference_quirks:
            table = nn.Embedding(inputs.characters, UNUSED_CHAR_DIM, padding_idx=0)
            self.unused = nn.ModuleList([table, character_convolutions(UNUSED_CHAR_DIM)])
        self.video = nn.Linear(inputs.feature_dim, d)
        self.positions = SinePositions(config.max_positions, d)
        self.f2f, self.f2w, self.v2v = (_guided(config, CLIP_KERNEL) for _ in range(3))
        self.p2p, self.p2w, self.s2s = (_guided(config, 1) for _ in range(3))
        self.w2w, self.w2f, self.w2p, self.pq2q, self.vq2q = (
            AttentionLayer(d, config.heads, dropout=p) for _ in range(5)
        )
        self.clip_fuser, self.proposal_fuser = Fuser(config), Fuser(config)
        self.highlight = nn.Linear(d, 1)
        self.ranker = Ranker(d, config.ranker_layers)
        self.dropout = Dropout(p)
        init_weights(self)
        self.span_head = self.new_span_head()
        self.begin_epoch(0, 1)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Set τ, the overlap from which on a proposal stretches the labels."""
        self.threshold = iou_threshold(epoch, epochs)

    def forward(self, batch: Batch) -> SpanOutput:
        """Return span and highlight logits (B, T) and features (B, T, D).

        `own["rank"]` holds the logits of the proposals, (B, N).
        """
        f_mask, q_mask = batch.clip_mask, batch.word_mask
        grid = block_grid(f_mask, self.config.block)
        p_mask = grid.mask
        f = self.positions(self.video(self.dropout(batch.features)))
        w = self.positions(self.word_linear(self.words.look_up(batch)))
        p = proposal_features(self._blocks(f, f_mask), grid)
        # 1: each stream attends to itself
        p = self.p2p(p, p_mask, self._edges(f, f_mask, grid))
        f = self.f2f(f, f_mask, clip_guides(f, f_mask))
        w = self.w2w(w, w, q_mask)
        # 2, 3: proposals and clips attend to the words and the words to each of them
        pq, vq = self.w2p(w, p, p_mask), self.w2f(w, f, f_mask)
        p = self.p2w(p, p_mask, self._edges(f, f_mask, grid), w, q_mask)
        f = self.f2w(f, f_mask, clip_guides(f, f_mask), w, q_mask)
        # 4: each stream attends to itself again
        p, pq = self.s2s(p, p_mask, self._edges(f, f_mask, grid)), self.pq2q(pq, pq, q_mask)
        f, vq = self.v2v(f, f_mask, clip_guides(f, f_mask)), self.vq2q(vq, vq, q_mask)

        rank = self.ranker(self.proposal_fuser(p, pq, p_mask, q_mask), grid)
        x = self.clip_fuser(f, vq, f_mask, q_mask)
        match = self.highlight(x).squeeze(2)
        gated = mask_logits(match, f_mask).sigmoid()[..., None] * x
        return SpanOutput(
            spans=self.span_head(gated, f_mask),
            fused=gated,
            before_gate=x,
            match=match,
            own={"rank": rank},
        )

    def span_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return L_loc: -log of the mass between the truth's boundaries and the trusted ones."""
        first, last = self._trusted(output, batch).unbind(1)
        if self.config.reference_quirks:
            last = last + 1
        start = elastic_loss(output.spans.start, batch.start, first)
        return start + elastic_loss(output.spans.end, batch.end, last)

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the weighted sum of the highlight and the ranking loss."""
        grid = block_grid(batch.clip_mask, self.config.block)
        ranks = F.binary_cross_entropy_with_logits(
            widened(output.own["rank"]), rank_labels(grid, batch), reduction="none"
        )
        rank = (ranks * grid.mask).sum() / grid.mask.sum()
        highlight = highlight_loss(output.match, self._foreground(output, batch), batch.clip_mask)
        return self.config.highlight_weight * highlight + self.config.rank_weight * rank

    def new_span_head(self) -> SpanHead:
        """Return a fresh boundary predictor."""
        return BoundaryHead(self.hidden)

    def _foreground(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return (B, T) bool, the highlight labels of the stretched moment."""
        first, last = self._trusted(output, batch).unbind(1)
        if self.config.reference_quirks:
            last = torch.minimum(batch.end, last + 1)
        else:
            last = torch.maximum(batch.end, last)
        first = torch.minimum(batch.start, first)
        return highlight_labels(replace(batch, start=first, end=last))

    def _trusted(self, output: BackboneOutput, batch: Batch) -> Tensor:
        grid = block_grid(batch.clip_mask, self.config.block)
        return trusted_spans(output.own["rank"], grid, batch, self.threshold)

    def _blocks(self, clips: Tensor, mask: Tensor) -> Tensor:
        """Return (B, n, D), the maxima over blocks of clips."""
        tail = 0.0 if self.config.reference_quirks else NEGATIVE
        return block_maxima(clips, mask, self.config.block, tail=tail)

    def _edges(self, clips: Tensor, mask: Tensor, grid: BlockGrid) -> tuple[Tensor, Tensor]:
        """Return the guides of proposals, (B, N, D) each: their first and their last block."""
        return proposal_guides(self._blocks(clips, mask), grid)


class Fuser(nn.Module):
    """VSLNet's context-query attention and query concatenation, then ReLU."""

    def __init__(self, config: EMBConfig) -> None:
        super().__init__()
        self.attention = ContextQueryAttention(config.hidden, dropout=config.dropout, bias=True)
        self.concat = QueryConcat(config.hidden)

    def forward(self, x: Tensor, q: Tensor, mask: Tensor, q_mask: Tensor) -> Tensor:
        """Return (B, T, D) from clips or proposals (B, T, D) and words (B, M, D)."""
        return F.relu(self.concat(self.attention(x, q, mask, q_mask), q, q_mask))


class BoundaryHead(SpanHead):
    """Two bidirectional LSTMs: the end reads what the start has found."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.start_rnn, self.end_rnn = BiLSTM(hidden, hidden), BiLSTM(hidden, hidden)
        self.start_linear = nn.Linear(2 * hidden, hidden)
        self.end_linear = nn.Linear(2 * hidden, hidden)
        self.start, self.end = _logit(hidden), _logit(hidden)
        init_weights(self)

    def forward(self, fused: Tensor, clip_mask: Tensor) -> SpanLogits:
        """Return masked logits (B, T)."""
        start = self.start_linear(self.start_rnn(fused, clip_mask))
        end = self.end_linear(self.end_rnn(start, clip_mask))
        z_start = self.start(torch.cat([start, fused], dim=2)).squeeze(2)
        z_end = self.end(torch.cat([end, fused], dim=2)).squeeze(2)
        return SpanLogits(start=mask_logits(z_start, clip_mask), end=mask_logits(z_end, clip_mask))


def _logit(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def _guided(config: EMBConfig, kernel: int) -> GuidedAttentionLayer:
    return GuidedAttentionLayer(config.hidden, config.heads, kernel=kernel, dropout=config.dropout)
