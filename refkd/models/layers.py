"""The layers that the VSLNet family shares, in the order of its forward pass.

Shapes: B pairs, L clips, M words, C characters a word, D hidden size, V feature dimension. Masks
are bool, true on what is valid. Source: 26hzhang/VSLNet, `layers_t7.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.errors import DataError
from refkd.models.attention import attend
from refkd.models.backbone import NEGATIVE
from refkd.models.convolution import Depthwise, convolve
from refkd.models.dropout import Dropout

LAYER_NORM_EPS = 1e-6
CHARACTER_CONVOLUTIONS = ((1, 10), (2, 20), (3, 30), (4, 40))
"""(kernel, channels) of the convolutions over a word's characters."""


def mask_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Put `NEGATIVE` where the mask is false."""
    return logits.masked_fill(~mask, NEGATIVE)


def layer_norm(width: int) -> nn.LayerNorm:
    """Return a layer norm with the references' epsilon."""
    return nn.LayerNorm(width, eps=LAYER_NORM_EPS)


def init_weights(module: nn.Module) -> None:
    """Glorot-uniform for matrices, convolutions and tables, 0 for biases; LSTMs keep torch's."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.xavier_uniform_(part.weight)
            if part.padding_idx is not None:
                nn.init.zeros_(part.weight.data[part.padding_idx])


class WordEmbedding(nn.Module):
    """The words of queries to (B, M, d_w): frozen vectors, one of its own for what is unknown.

    That one is learned, or zeros. Where the dataset gives queries as features of their tokens,
    those take the place of word vectors, and nothing is looked up.
    """

    vectors: Tensor

    def __init__(self, inputs: ModelInputs, *, dropout: float, learned: bool = True) -> None:
        super().__init__()
        self.given = inputs.text_dim > 0
        self.width = inputs.text_dim or inputs.word_vectors.shape[1]
        self.dropout = Dropout(dropout)
        self.learned = learned and not self.given
        if not self.given:
            table = torch.as_tensor(inputs.word_vectors)
            special = torch.zeros(2, self.width, dtype=table.dtype)
            # The vectors come with the dataset, so no checkpoint carries them.
            self.register_buffer("vectors", torch.cat([special, table]), persistent=False)
        if self.learned:
            self.unknown = nn.Parameter(torch.empty(1, self.width))
            nn.init.xavier_uniform_(self.unknown)

    def look_up(self, batch: Batch) -> Tensor:
        """Return (B, M, d_w)."""
        if self.given:
            assert batch.text is not None
            return self.dropout(batch.text)  # type: ignore[no-any-return]
        word = F.embedding(batch.words, self.vectors)
        if self.learned:
            word = torch.where((batch.words == 1)[..., None], self.unknown, word)
        return self.dropout(word)  # type: ignore[no-any-return]


class Embedding(WordEmbedding):
    """Words and their characters, which are learned, to (B, M, D); given features to as much."""

    def __init__(self, inputs: ModelInputs, *, char_dim: int, hidden: int, dropout: float) -> None:
        super().__init__(inputs, dropout=dropout)
        channels = 0
        if not self.given:
            self.characters = nn.Embedding(inputs.characters, char_dim, padding_idx=0)
            self.convolutions = character_convolutions(char_dim)
            channels = sum(channels for _, channels in CHARACTER_CONVOLUTIONS)
        self.linear = nn.Linear(self.width + channels, hidden)

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, M, D); of words the characters are read too."""
        word = self.look_up(batch)
        if not self.given:
            word = torch.cat([word, self._spelling(batch.characters)], dim=2)
        return self.linear(word)  # type: ignore[no-any-return]

    def _spelling(self, characters: Tensor) -> Tensor:
        """Return (B, M, 100) of character ids; all words without characters are read once."""
        spelled = (characters != 0).any(dim=2)
        rows = F.pad(characters[spelled], (0, 0, 1, 0))
        char = self.dropout(self.characters(rows))
        convolutions: Iterable[nn.Conv1d] = self.convolutions  # type: ignore[assignment]
        pooled = [F.relu(convolve(conv, char)).amax(dim=1) for conv in convolutions]
        place = spelled.flatten().cumsum(0).view_as(spelled) * spelled
        return F.embedding(place, torch.cat(pooled, dim=1))


def character_convolutions(char_dim: int) -> nn.ModuleList:
    """Return the convolutions over a word's characters."""
    return nn.ModuleList(
        nn.Conv1d(char_dim, channels, kernel) for kernel, channels in CHARACTER_CONVOLUTIONS
    )


def check_length(length: int, positions: int) -> None:
    """Raise `DataError` where a sequence is longer than the table of its positions."""
    if length > positions:
        raise DataError(
            f"{length} positions, but the table holds {positions}; raise backbone.max_positions"
        )


class PositionTable(nn.Module):
    """Adds a learned vector for each position."""

    def __init__(self, positions: int, hidden: int) -> None:
        super().__init__()
        self.table = nn.Embedding(positions, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + table; `DataError` where x is longer than the table."""
        check_length(x.shape[1], self.table.num_embeddings)
        return x + self.table.weight[: x.shape[1]]


class SinePositions(nn.Module):
    """Adds fixed sines and cosines of each position, wavelengths up to 10000 · 2π."""

    table: Tensor

    def __init__(self, positions: int, hidden: int) -> None:
        super().__init__()
        rate = torch.exp(torch.arange(0, hidden, 2) * (-math.log(10000.0) / hidden))
        angle = torch.arange(positions)[:, None] * rate
        table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :hidden]
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + table; `DataError` where x is longer than the table."""
        check_length(x.shape[1], len(self.table))
        return x + self.table[: x.shape[1]]


class ConvBlock(nn.Module):
    """Four residual steps of layer norm, depthwise convolution of width 7, linear map, ReLU."""

    def __init__(
        self, hidden: int, *, dropout: float, mask_conv: bool, steps: int = 4, kernel: int = 7
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(layer_norm(hidden) for _ in range(steps))
        self.depthwise = nn.ModuleList(Depthwise(hidden, kernel) for _ in range(steps))
        self.pointwise = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(steps))
        self.dropout = Dropout(dropout)
        self.mask_conv = mask_conv

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L, D); with `mask_conv` no padded row reaches a valid one."""
        for norm, depthwise, pointwise in zip(
            self.norms, self.depthwise, self.pointwise, strict=True
        ):
            y = norm(x)
            if self.mask_conv:
                y = y * mask[..., None]
            x = x + self.dropout(F.relu(pointwise(depthwise(y))))
        return x


class AttentionBlock(nn.Module):
    """Self-attention without an output projection, then one linear map; both residual.

    With `mask_rows` a padded position attends to all positions evenly, as in SeqPAN; that shows
    only where an unmasked convolution carries padded positions to valid ones.
    """

    def __init__(
        self, hidden: int, heads: int, *, dropout: float, mask_rows: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.mask_rows = mask_rows
        self.norm1, self.norm2 = layer_norm(hidden), layer_norm(hidden)
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L, D); padded positions are attended to by none."""
        y = self.dropout(self.norm1(x))
        keys = mask[:, None, :]
        attended = attend(
            self.query(y),
            self.key(y),
            self.value(y),
            keys & mask[:, :, None] if self.mask_rows else keys,
            heads=self.heads,
            dropout=self.dropout,
        )
        residual = x + self.dropout(attended)
        return residual + self.dropout(  # type: ignore[no-any-return]
            self.out(self.dropout(self.norm2(residual)))
        )


class FeatureEncoder(nn.Module):
    """Positions, convolutions, attention: one encoder for whatever is a sequence."""

    def __init__(
        self,
        hidden: int,
        heads: int,
        *,
        positions: int,
        dropout: float,
        mask_conv: bool,
        mask_rows: bool = False,
    ) -> None:
        super().__init__()
        self.positions = PositionTable(positions, hidden)
        self.conv = ConvBlock(hidden, dropout=dropout, mask_conv=mask_conv)
        self.attention = AttentionBlock(hidden, heads, dropout=dropout, mask_rows=mask_rows)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L, D) from (B, L, D) and its mask (B, L)."""
        return self.attention(self.conv(self.positions(x), mask), mask)  # type: ignore[no-any-return]


class ContextQueryAttention(nn.Module):
    """Fuses a context with a query by their trilinear similarity, both ways."""

    def __init__(self, hidden: int, *, dropout: float, bias: bool) -> None:
        super().__init__()
        bound = math.sqrt(6 / (hidden + 1))
        self.context = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.query = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.product = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.linear = nn.Linear(4 * hidden, hidden, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, v: Tensor, q: Tensor, v_mask: Tensor, q_mask: Tensor) -> Tensor:
        """Return (B, L, D) from context (B, L, D), query (B, M, D) and their masks."""
        v_drop, q_drop = self.dropout(v), self.dropout(q)
        score = (v_drop * self.product) @ q_drop.transpose(1, 2)
        score = score + (v_drop @ self.context)[:, :, None] + (q_drop @ self.query)[:, None, :]
        rows = mask_logits(score, q_mask[:, None, :]).softmax(dim=2)
        columns = mask_logits(score, v_mask[:, :, None]).softmax(dim=1)
        to_query = rows @ q
        to_context = rows @ (columns.transpose(1, 2) @ v)
        fused = torch.cat([v, to_query, v * to_query, v * to_context], dim=2)
        return self.linear(fused)  # type: ignore[no-any-return]


class QueryConcat(nn.Module):
    """Appends the attention-pooled query to every clip."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        bound = math.sqrt(6 / (hidden + 1))
        self.pool = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.linear = nn.Linear(2 * hidden, hidden)

    def forward(self, v: Tensor, q: Tensor, q_mask: Tensor) -> Tensor:
        """Return (B, L, D) from clips (B, L, D) and words (B, M, D)."""
        weights = mask_logits(q @ self.pool, q_mask).softmax(dim=1)
        pooled = (weights[:, None, :] @ q).expand(-1, v.shape[1], -1)
        return self.linear(torch.cat([v, pooled], dim=2))  # type: ignore[no-any-return]
