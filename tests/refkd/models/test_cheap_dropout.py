"""Masks of random bytes are dropout: the same law, the same gradient, named by the seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refkd.models.dropout import STEPS, Dropout, drop, keep_mask

COUNT = 400_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_the_share_dropped_is_p_and_the_mean_is_kept(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mask = keep_mask(torch.empty(COUNT, dtype=dtype), p).double()
    deviation = (p * (1 - p) / COUNT) ** 0.5
    assert abs(float((mask == 0).double().mean()) - p) < 5 * deviation + 1 / STEPS
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=5e-3)


def test_elements_are_dropped_independently_of_their_neighbours() -> None:
    torch.manual_seed(0)
    kept = (keep_mask(torch.empty(COUNT), 0.2) > 0).double() - 0.8
    for step in (1, 2, 3, 4, 8, 128):
        assert abs(float((kept[step:] * kept[:-step]).mean())) < 5 * 0.16 / COUNT**0.5


@given(p=st.floats(0, 0.99), count=st.integers(1, 40))
def test_a_seed_names_the_mask(p: float, count: int) -> None:
    x = torch.ones(count, 3)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(drop(x, p))
    assert torch.equal(drawn[0], drawn[1])
    assert drawn[0].shape == x.shape


def test_the_gradient_passes_where_the_value_does() -> None:
    x = torch.randn(50, 60).requires_grad_()
    y = drop(x, 0.3)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), y.detach())


def test_a_transposed_input_keeps_its_shape_and_its_zeros_in_place() -> None:
    x = torch.arange(1.0, 13).view(3, 4).T
    y = drop(x, 0.5)
    assert torch.equal(y[y != 0], 2 * x[y != 0])


def test_nothing_is_dropped_in_evaluation_or_with_p_of_0() -> None:
    x, dropout = torch.randn(4, 5), Dropout(0.5)
    assert dropout.eval()(x) is x
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert not torch.equal(dropout.train()(x), x)
