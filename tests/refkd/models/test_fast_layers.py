"""Attention, convolutions and spelling equal their plain forms, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models.attention import attend
from refkd.models.convolution import Depthwise
from refkd.models.dropout import Dropout, keep_mask
from refkd.models.layers import Embedding

HEADS, HIDDEN = 4, 16


class NoDropout(nn.Dropout):
    """Asks for a share to be dropped, and drops none."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def inputs(dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    parts = [torch.randn(3, n, HIDDEN, dtype=dtype, requires_grad=True) for n in (7, 5, 5)]
    mask = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    return parts, mask[:, None]


def test_training_with_dropout_weighs_as_evaluation_does() -> None:
    parts, mask = inputs(torch.float64)
    found = []
    for training in (True, False):
        out = attend(*parts, mask, heads=HEADS, dropout=NoDropout(0.3).train(training))
        found.append((out, *torch.autograd.grad(out.square().sum(), parts)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_dropout_falls_on_the_weights() -> None:
    parts, mask = inputs(torch.float64)
    torch.manual_seed(0)
    out = attend(*parts, mask, heads=HEADS, dropout=Dropout(0.3))
    q, k, v = (x.view(3, -1, HEADS, 4).transpose(1, 2) for x in parts)
    scores = (q @ k.transpose(2, 3) / 2).masked_fill(~mask[:, None], -torch.inf)
    torch.manual_seed(0)
    expected = F.softmax(scores, dim=3) * keep_mask(scores, 0.3) @ v
    torch.testing.assert_close(out, expected.transpose(1, 2).flatten(2))


def test_a_row_that_may_attend_to_none_attends_to_all_evenly() -> None:
    parts, _ = inputs(torch.float32)
    nothing = torch.zeros(3, 1, 5, dtype=torch.bool)
    for training in (True, False):
        block = Dropout(1e-9).train(training)
        out = attend(*parts, nothing, heads=HEADS, dropout=block)
        torch.testing.assert_close(out, parts[2].mean(dim=1, keepdim=True).expand_as(out))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1, 3, 20])
def test_depthwise_equals_a_grouped_convolution(length: int, dtype: torch.dtype) -> None:
    ours = Depthwise(HIDDEN, 7).to(dtype)
    stock = nn.Conv1d(HIDDEN, HIDDEN, 7, padding=3, groups=HIDDEN, bias=False, dtype=dtype)
    stock.load_state_dict(ours.state_dict())
    x = torch.randn(3, length, HIDDEN, dtype=dtype, requires_grad=True)
    found = ours(x)
    expected = stock(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    ours_grads = torch.autograd.grad(found.square().sum(), [x, ours.weight])
    theirs = torch.autograd.grad(expected.square().sum(), [x, stock.weight])
    for mine, other in zip(ours_grads, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spelling_equals_convolutions_over_every_word(dtype: torch.dtype) -> None:
    vectors = torch.randn(5, 6).numpy()
    inputs = ModelInputs(feature_dim=3, word_vectors=vectors, characters=9)
    embedding = Embedding(inputs, char_dim=4, hidden=HIDDEN, dropout=0.3).to(dtype).eval()
    for parameter in embedding.parameters():
        parameter.data.normal_()
    characters = torch.randint(1, 9, (3, 5, 16)) * (
        torch.arange(16) < torch.randint(1, 16, (3, 5, 1))
    )
    characters[0, 2:] = characters[2] = 0
    none = torch.zeros(3, dtype=torch.int64)
    batch = Batch(
        features=torch.zeros(3, 1, 3),
        clips=none + 1,
        words=torch.ones(3, 5, dtype=torch.int64),
        characters=characters,
        moment=torch.zeros(3, 2),
        **dict.fromkeys(("start", "end", "pairs"), none),
    )
    char = embedding.characters(characters).flatten(0, 1).transpose(1, 2)
    pooled = torch.cat([F.relu(conv(char)).amax(dim=2) for conv in embedding.convolutions], dim=1)
    both = torch.cat([embedding.look_up(batch), pooled.view(3, 5, -1)], dim=2)
    answers = embedding(batch), embedding.linear(both)
    torch.testing.assert_close(*answers)
    parameters = list(embedding.parameters())
    ours, plain = (torch.autograd.grad(y.square().sum(), parameters) for y in answers)
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-3)
