"""2D-TAN: a map of spans, each scored with its neighbours in sight (Zhang et al., AAAI 2020).

Written from microsoft/2D-TAN; it has no span predictor, so it can teach but not be a student.
Weights map by the order of the parts: frames = vis_conv, sparse = proposal layers, text and
text_linear = textual_encoder and tex_linear, cells = vis_conv of the fusion, then convolutions and
the prediction; the reference's kernel-1 convolutions are linear layers here.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.backbone import Backbone, BackboneOutput, Proposals, SpanLogits, widened
from refkd.models.config import NamedConfig
from refkd.models.decode import falling
from refkd.models.layers import WordEmbedding
from refkd.models.map2d import anchors, at_clips, iou, log_mass, scales, spread, suppress


class Tan2DConfig(NamedConfig):
    """2D-TAN's sizes and switches; the defaults are the reference's for Charades with pooling.

    >>> Tan2DConfig(map_clips=64, convolutions=4, kernel=9, nms=0.5).segments
    256
    """

    name: Literal["tan2d"] = "tan2d"
    """Which backbone this is."""
    hidden: int = Field(default=512, ge=1)
    """D, the width of every layer."""
    segments: int = Field(default=256, ge=1)
    """Stretches of equal length that a video's features are averaged over; a multiple of N."""
    map_clips: int = Field(default=16, ge=2)
    """N, clips of the map: 2 to 16, 32, 64, 128 (16 for Charades, 64 for ActivityNet)."""
    sparse: Literal["pool", "conv"] = "pool"
    """How the feature of a span is made of its clips': their maximum, or stacked convolutions."""
    convolutions: int = Field(default=8, ge=1)
    """Convolutions over the map (8 for Charades, 4 for ActivityNet)."""
    kernel: int = Field(default=5, ge=1)
    """Their width, odd (5 for Charades, 9 for ActivityNet)."""
    text_layers: int = Field(default=3, ge=1)
    """Layers of the LSTM that reads the query."""
    iou_min: float = Field(default=0.5, ge=0, lt=1)
    """t_min: a span of this IoU with the moment has the target 0."""
    iou_max: float = Field(default=1.0, gt=0, le=1)
    """t_max: a span of this IoU with the moment has the target 1."""
    nms: float = Field(default=0.45, gt=0, lt=1)
    """A proposal whose IoU with a better one is above this is dropped."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the softmax over spans that start, end and match logits are marginals of."""

    @property
    def label(self) -> str:
        """What tables call this network."""
        return "2D-TAN"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        scales(self.map_clips)
        if self.segments % self.map_clips:
            raise ValueError(
                f"segments={self.segments} is no multiple of map_clips={self.map_clips}"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} is even; give an odd width")
        if self.iou_min >= self.iou_max:
            raise ValueError(f"iou_min={self.iou_min} is not below iou_max={self.iou_max}")
        return self


class Tan2D(Backbone):
    """The network; a batch's map has A anchors, the spans of `refkd.models.map2d.anchors`."""

    anchors: Tensor

    def __init__(self, config: Tan2DConfig, inputs: ModelInputs) -> None:
        super().__init__()
        self.config = config
        width = config.hidden
        self.frames = nn.Linear(inputs.feature_dim, width)
        self.sparse = _sparse_layers(config)
        self.words = WordEmbedding(inputs, dropout=0.0, learned=False)
        self.text = nn.LSTM(self.words.width, width, config.text_layers, batch_first=True)
        self.text_linear = nn.Linear(width, width)
        self.cells = nn.Linear(width, width)
        self.convolutions = _MapConvolutions(config)
        self.prediction = nn.Linear(width, 1)
        self.register_buffer("anchors", anchors(config.map_clips), persistent=False)

    def forward(self, batch: Batch) -> BackboneOutput:
        """Return marginal span logits (B, L), match logits (B, L), and `own["anchors"]` (B, A)."""
        segments = resample(F.normalize(batch.features, dim=2), batch.clips, self.config.segments)
        frames = F.relu(self.frames(segments))
        clips = frames.reshape(len(batch), self.config.map_clips, -1, self.config.hidden).mean(2)
        fused = self.cells(self._spans(clips)) * self._sentence(batch)[:, None]
        cells = self.convolutions(F.normalize(fused, dim=2), self.anchors)
        logits = self.prediction(cells).squeeze(2)
        spans, match = self._marginals(logits, batch)
        return BackboneOutput(spans=spans, match=match, own={"anchors": logits})

    def span_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return the mean BCE of the anchors with their scaled IoU with the annotated moment."""
        logits = widened(output.own["anchors"])
        overlap = iou(self._edges(batch), batch.moment[:, None].to(logits.dtype))
        low, high = self.config.iou_min, self.config.iou_max
        targets = ((overlap - low) / (high - low)).clamp(0, 1).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, targets)

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return 0: 2D-TAN has no loss beside that of its map."""
        return output.match.new_zeros(())

    def proposals(self, output: BackboneOutput, batch: Batch, *, top: int = 1) -> Proposals:
        """Return the `top` anchors of each pair after non-maximum suppression, scored σ(logit)."""
        if top < 1:
            raise ValueError(f"top is {top}; ask for at least one span")
        logits = widened(output.own["anchors"])
        spans = _as_edges(self.anchors, logits)
        kept, repeats = suppress(logits, spans, above=self.config.nms, top=top)
        edges = self._edges(batch).gather(1, kept[:, :, None].expand(-1, -1, 2))
        score = logits.gather(1, kept).double().sigmoid().to(logits.dtype)
        return Proposals(edges=edges, score=falling(score.masked_fill(repeats, 0.0)))

    def _spans(self, clips: Tensor) -> Tensor:
        """Return (B, A, D) the features of all anchors from those of the map's clips (B, N, D)."""
        x, found = clips.transpose(1, 2), []
        for layer in self.sparse:
            x = layer(x)
            found.append(x)
        return torch.cat(found, dim=2).transpose(1, 2)

    def _sentence(self, batch: Batch) -> Tensor:
        """Return (B, D) the state of the text's LSTM after the last word."""
        states, _ = self.text(self.words.look_up(batch))
        last = batch.word_mask.sum(dim=1) - 1
        rows = torch.arange(len(batch), device=last.device)
        return self.text_linear(states[rows, last])  # type: ignore[no-any-return]

    def _marginals(self, logits: Tensor, batch: Batch) -> tuple[SpanLogits, Tensor]:
        """Return log P_s, log P_e and the log-odds that a clip lies in the span, all (B, L).

        The span is drawn from the softmax over anchors at `config.temperature`.
        """
        log_q = (widened(logits) / self.config.temperature).log_softmax(dim=1)
        each = torch.arange(self.config.map_clips, device=logits.device)[:, None]
        first, last = self.anchors.T
        inside = (first <= each) & (each <= last)
        length = batch.features.shape[1]
        spans = SpanLogits(
            start=spread(log_mass(log_q, first == each), batch.clips, length),
            end=spread(log_mass(log_q, last == each), batch.clips, length),
        )
        odds = log_mass(log_q, inside) - log_mass(log_q, ~inside)
        return spans, at_clips(odds, batch.clips, length)

    def _edges(self, batch: Batch) -> Tensor:
        """Return (B, A, 2) where each anchor begins and ends, in clips."""
        edges = _as_edges(self.anchors, batch.features)
        return edges * batch.clips[:, None, None] / self.config.map_clips


class _MapConvolutions(nn.Module):
    """Convolutions over the map whose sums are divided by the number of valid neighbours.

    The first is padded by all that the stack takes away; what its window touches is valid to the
    next, as in the reference.
    """

    def __init__(self, config: Tan2DConfig) -> None:
        super().__init__()
        self.size, kernel = config.map_clips, config.kernel
        padding = config.convolutions * (kernel // 2)
        self.layers = nn.ModuleList(
            nn.Conv2d(config.hidden, config.hidden, kernel, padding=padding if i == 0 else 0)
            for i in range(config.convolutions)
        )
        valid = torch.zeros(1, 1, self.size, self.size)
        first, last = anchors(self.size).T
        valid[:, :, first, last] = 1.0
        for i in range(config.convolutions):
            window = torch.ones(1, 1, kernel, kernel)
            count = F.conv2d(valid, window, padding=padding if i == 0 else 0).round()
            valid = (count > 0).float()
            self.register_buffer(f"weight{i}", valid / count.clamp(min=1), persistent=False)

    def forward(self, cells: Tensor, spans: Tensor) -> Tensor:
        """Return (B, A, D) from (B, A, D), a row an anchor of `spans` (A, 2)."""
        place = spans[:, 0] * self.size + spans[:, 1]
        count, _, width = cells.shape
        flat = cells.new_zeros(count, self.size**2, width).index_copy(1, place, cells)
        x = flat.transpose(1, 2).reshape(count, width, self.size, self.size)
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x)) * self.get_buffer(f"weight{i}")
        return x.flatten(2).transpose(1, 2)[:, place]


def resample(features: Tensor, clips: Tensor, segments: int) -> Tensor:
    """Return (B, `segments`, V): averages over equal stretches of each video's valid rows.

    Stretch i has the rows between the bounds round(i · n / segments), clipped to n - 1, half to
    even; an empty one takes the row at its bound. Fewer rows than segments are repeated.
    """
    count = clips[:, None]
    steps = torch.arange(segments + 1, device=clips.device, dtype=torch.float64)
    bounds = torch.minimum(torch.round(steps / segments * count).long(), count - 1)
    first = bounds[:, :-1, None]
    past = torch.maximum(bounds[:, 1:, None], first + 1)
    rows = torch.arange(features.shape[1], device=clips.device)
    weights = ((first <= rows) & (rows < past)).to(features.dtype) / (past - first)
    return weights @ features


def _sparse_layers(config: Tan2DConfig) -> nn.ModuleList:
    """Return a layer for each anchor length; each widens the spans of the one before it."""
    shapes = []
    for scale, count in enumerate(scales(config.map_clips)):
        shapes += [(1, 1) if scale == 0 else (3, 2), *[(2, 1)] * (count - 1)]
    if config.sparse == "pool":
        return nn.ModuleList(nn.MaxPool1d(kernel, stride) for kernel, stride in shapes)
    return nn.ModuleList(nn.Conv1d(config.hidden, config.hidden, k, s) for k, s in shapes)


def _as_edges(spans: Tensor, like: Tensor) -> Tensor:
    """Return (A, 2) edges, the end exclusive, of inclusive spans in the type of `like`."""
    return torch.stack([spans[:, 0], spans[:, 1] + 1], dim=1).to(widened(like).dtype)
