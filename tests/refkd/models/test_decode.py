from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refkd.models.decode import decode, decode_top

PADDING = -1e30


@st.composite
def logits(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Start and end logits of a padded batch; small integers, so that ties are common."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    values = draw(
        st.sampled_from(
            [st.integers(-2, 2), st.floats(-30, 30, width=32), st.floats(-1e4, 1e4, width=32)]
        )
    )
    both = torch.from_numpy(draw(arrays(np.float32, (2, rows, length), elements=values)))
    clips = draw(st.lists(st.integers(1, length), min_size=rows, max_size=rows))
    padded = torch.arange(length) >= torch.tensor(clips)[:, None]
    both = both.masked_fill(padded, PADDING)
    return both[0], both[1], clips


def ranked(start: torch.Tensor, end: torch.Tensor, clips: int) -> list[tuple[int, int]]:
    """All valid spans of one row, best first, ties by first and then by last clip."""
    spans = [(s, e) for s in range(clips) for e in range(s, clips)]
    return sorted(spans, key=lambda span: -(float(start[span[0]]) + float(end[span[1]])))


@given(logits())
def test_decode_equals_brute_force(batch: tuple[torch.Tensor, torch.Tensor, list[int]]) -> None:
    start, end, clips = batch
    s, e = decode(start, end)
    assert s.dtype == e.dtype == torch.int64
    expected = [ranked(start[i], end[i], n)[0] for i, n in enumerate(clips)]
    assert list(zip(s.tolist(), e.tolist(), strict=True)) == expected


@given(logits(), st.integers(1, 40))
def test_decode_top_ranks_as_brute_force(
    batch: tuple[torch.Tensor, torch.Tensor, list[int]], top: int
) -> None:
    start, end, clips = batch
    s, e, p = decode_top(start, end, top)
    most = max(n * (n + 1) // 2 for n in clips)
    assert s.shape == e.shape == p.shape == (len(clips), min(top, most))
    joint = start.softmax(1)[:, :, None] * end.softmax(1)[:, None, :]
    for i, n in enumerate(clips):
        expected = ranked(start[i], end[i], n)[: s.shape[1]]
        spare = s.shape[1] - len(expected)
        got = list(zip(s[i].tolist(), e[i].tolist(), strict=True))
        assert got == expected + [expected[0]] * spare
        wanted = [float(joint[i, a, b]) for a, b in expected] + [0.0] * spare
        assert p[i].tolist() == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def test_the_best_starts_and_ends_may_not_make_a_span() -> None:
    start = torch.tensor([[0.0, 0.0, 5.0]])
    end = torch.tensor([[4.0, 0.0, 0.0]])
    assert [x.tolist() for x in decode(start, end)] == [[2], [2]]


def test_equal_logits_give_the_first_clip() -> None:
    flat = torch.zeros(2, 6)
    assert [x.tolist() for x in decode(flat, flat)] == [[0, 0], [0, 0]]


def test_spans_do_not_tie_because_their_sum_is_rounded() -> None:
    start, end = torch.tensor([[8192.0, 8192.001]]), torch.tensor([[16384.0, 16384.0]])
    assert start[0, 1] > start[0, 0]
    assert start[0, 1] + end[0, 1] == start[0, 0] + end[0, 0]
    assert [x.tolist() for x in decode(start, end)] == [[1], [1]]
    first, last, probability = decode_top(start, end, 3)
    assert list(zip(first[0].tolist(), last[0].tolist(), strict=True)) == [(1, 1), (0, 0), (0, 1)]
    assert probability[0, 0] > probability[0, 1] == probability[0, 2]


def test_decode_top_needs_a_span() -> None:
    with pytest.raises(ValueError, match="top is 0"):
        decode_top(torch.zeros(1, 3), torch.zeros(1, 3), 0)
