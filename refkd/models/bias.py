"""Bias branches: how far one modality alone guesses where a moment lies.

A reconstruction of the bias models of Zhang et al. (2021b), of which only the abstract is public.
Each has encoders of its own, so what a branch learns of the bias never reaches the encoders of the
network beside it, and what the other modality says cannot reach the branch.

Letters in shapes: B pairs, L clips (padded), D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.backbone import SpanLogits
from refkd.models.dropout import Dropout
from refkd.models.layers import ConvBlock, Embedding, init_weights, mask_logits

DROPOUT = 0.2
CHAR_DIM = 16
OCTAVES = 5
"""Waves that tell a clip its place in the video, each half as long as the one before."""


class VideoBias(nn.Module):
    """z^v: a span predictor on an encoded video; the query is not read."""

    def __init__(self, inputs: ModelInputs, *, width: int) -> None:
        super().__init__()
        self.video = nn.Linear(inputs.feature_dim, width)
        self.place = Place(width)
        self.encoder = ConvBlock(width, dropout=DROPOUT, mask_conv=True)
        self.head = _TwoLogits(2 * width, width)
        self.dropout = Dropout(DROPOUT)
        init_weights(self)

    def forward(self, batch: Batch) -> SpanLogits:
        """Return masked logits (B, L); each clip is seen with its surroundings and the mean."""
        mask = batch.clip_mask
        clips = self.encoder(self.video(self.dropout(batch.features)) + self.place(batch), mask)
        whole = masked_mean(clips, mask)[:, None].expand_as(clips)
        return self.head(torch.cat([clips, whole], dim=2), mask)  # type: ignore[no-any-return]


class QueryBias(nn.Module):
    """z^q: the pooled query at every place of the video, through an MLP; no clip is read."""

    def __init__(self, inputs: ModelInputs, *, width: int) -> None:
        super().__init__()
        self.embedding = Embedding(inputs, char_dim=CHAR_DIM, hidden=width, dropout=DROPOUT)
        self.place = Place(width)
        self.head = _TwoLogits(2 * width, width)
        init_weights(self)

    def forward(self, batch: Batch) -> SpanLogits:
        """Return masked logits (B, L); of the video only its number of clips is known."""
        words = F.relu(self.embedding(batch))
        place = self.place(batch)
        query = masked_mean(words, batch.word_mask)[:, None].expand_as(place)
        return self.head(  # type: ignore[no-any-return]
            torch.cat([query, place], dim=2), batch.clip_mask
        )


class Place(nn.Module):
    """The relative place t/n of each clip in its video as features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * OCTAVES, width)

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, L, D)."""
        positions = torch.arange(batch.features.shape[1], device=batch.clips.device)
        place = (positions + 0.5) / batch.clips[:, None]
        waves = math.pi * 2.0 ** torch.arange(OCTAVES, device=place.device)
        angles = (place[..., None] * waves).to(self.linear.weight.dtype)
        return self.linear(torch.cat([angles.sin(), angles.cos()], dim=2))  # type: ignore[no-any-return]


class _TwoLogits(nn.Module):
    """Two layers to a start and an end logit a clip."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width_in, width)
        self.outer = nn.Linear(width, 2)

    def forward(self, x: Tensor, mask: Tensor) -> SpanLogits:
        start, end = self.outer(F.relu(self.inner(x))).unbind(dim=2)
        return SpanLogits(start=mask_logits(start, mask), end=mask_logits(end, mask))


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return (B, D), the mean of the rows of (B, L, D) where the mask (B, L) is true."""
    weights = mask[..., None].to(x.dtype)
    return (x * weights).sum(dim=1) / weights.sum(dim=1)
