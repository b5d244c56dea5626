"""The order head: what it pools, what it ignores, and that it can tell a moved moment."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from refkd.models.order import OrderHead

WIDTH = 6


@st.composite
def moments(draw: st.DrawFn) -> tuple[int, int, int]:
    """Draw a number of clips and a span in it."""
    clips = draw(st.integers(1, 12))
    start = draw(st.integers(0, clips - 1))
    return clips, start, draw(st.integers(start, clips - 1))


def head() -> OrderHead:
    return OrderHead(WIDTH).double().eval()


def inputs(clips: int, start: int, end: int, padding: int = 0) -> tuple[Tensor, ...]:
    features = torch.randn(1, clips + padding, WIDTH, dtype=torch.float64)
    mask = torch.arange(clips + padding)[None] < clips
    return features, mask, torch.tensor([start]), torch.tensor([end])


@given(moment=moments())
def test_logits_are_those_of_the_written_out_pooling(moment: tuple[int, int, int]) -> None:
    clips, start, end = moment
    model, (features, mask, *edges) = head(), inputs(*moment)
    rows = features[0]
    before, target, after = (
        part.mean(dim=0) for part in (rows[: start + 1], rows[start : end + 1], rows[end:clips])
    )
    ahead = F.relu(model.neighbours(torch.cat([before, target])))
    behind = F.relu(model.neighbours(torch.cat([target, after])))
    expected = model.classes(torch.cat([target, ahead, behind]))
    torch.testing.assert_close(model(features, mask, *edges)[0], expected)


@given(moment=moments(), padding=st.integers(1, 5))
def test_padding_and_batch_mates_do_not_show(moment: tuple[int, int, int], padding: int) -> None:
    model, (features, mask, start, end) = head(), inputs(*moment, padding)
    lone = model(features[:, : moment[0]], mask[:, : moment[0]], start, end)
    torch.testing.assert_close(model(features, mask, start, end), lone)
    mate = torch.randn_like(features)
    both = torch.cat([mate, features]), mask.expand(2, -1)
    found = model(*both, start.expand(2), end.expand(2))
    torch.testing.assert_close(found[1:], lone)


def test_it_learns_where_moments_stood() -> None:
    """Clips carry a ramp over time; in a moved moment the ramp is broken."""
    torch.manual_seed(0)
    model = OrderHead(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    clips, size = 12, 64
    mask = torch.ones(size, clips, dtype=torch.bool)
    label = torch.arange(size) % 2
    for _ in range(150):
        ramp = torch.arange(clips).float().expand(size, -1) / clips
        start = torch.randint(0, 3, (size,))
        shifted = (torch.arange(clips) + 6 * label[:, None]) % clips
        features = torch.stack([ramp.gather(1, shifted), torch.ones(size, clips)], dim=2)
        loss = F.cross_entropy(model(features, mask, start, start + 3), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    assert (model(features, mask, start, start + 3).argmax(dim=1) == label).all()


def test_every_parameter_gets_a_gradient_under_half_precision_too() -> None:
    model, (features, mask, *edges) = OrderHead(WIDTH), inputs(9, 2, 4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(features.float(), mask, *edges)
        F.cross_entropy(logits.float(), torch.tensor([1])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("width", "parameters"), [(512, 527_874), (128, 33_666)])
def test_parameter_count_at_the_source_s_width(width: int, parameters: int) -> None:
    assert sum(p.numel() for p in OrderHead(width).parameters()) == parameters
