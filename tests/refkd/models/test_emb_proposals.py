"""EMB's proposals, guides and ranker, held against what they say written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from refkd.models.backbone import NEGATIVE
from refkd.models.blocks import (
    Ranker,
    block_grid,
    block_maxima,
    proposal_features,
    proposal_guides,
)
from refkd.models.guided import clip_guides

WIDTH = 3
videos = st.lists(st.integers(1, 20), min_size=1, max_size=4)
sizes = st.integers(1, 8)


def clips_of(counts: list[int]) -> tuple[Tensor, Tensor]:
    """Return clips (B, T, D), huge where they are padded, and their mask."""
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    clips = torch.randn(*mask.shape, WIDTH)
    return torch.where(mask[..., None], clips, torch.full_like(clips, 99.0)), mask


@given(counts=videos, size=sizes)
def test_proposals_are_all_runs_of_blocks_with_their_maxima(counts: list[int], size: int) -> None:
    clips, mask = clips_of(counts)
    grid = block_grid(mask, size)
    blocks = block_maxima(clips, mask, size, tail=NEGATIVE)
    features, (left, right) = proposal_features(blocks, grid), proposal_guides(blocks, grid)
    side = -(-max(counts) // size)
    runs = [(i, j) for i in range(side) for j in range(i, side)]
    assert grid.mask.shape == (len(counts), len(runs))
    for row, count in enumerate(counts):
        for at, (i, j) in enumerate(runs):
            there = j * size < count
            assert bool(grid.mask[row, at]) == there
            if not there:
                assert (features[row, at] == 0).all()
                assert grid.spans[row, at].tolist() == [0, 0]
                continue
            own, first, beyond = clips[row, :count], i * size, min((j + 1) * size, count)
            assert grid.spans[row, at].tolist() == [first, beyond - 1]
            assert torch.equal(features[row, at], own[first:beyond].amax(0))
            assert torch.equal(left[row, at], own[first : first + size].amax(0))
            assert torch.equal(right[row, at], own[j * size : beyond].amax(0))


@pytest.mark.parametrize(("clips", "size", "proposals"), [(128, 8, 136), (121, 8, 136), (8, 8, 1)])
def test_the_number_of_proposals(clips: int, size: int, proposals: int) -> None:
    grid = block_grid(torch.ones(1, clips, dtype=torch.bool), size)
    assert int(grid.mask.sum()) == proposals


@given(counts=videos)
def test_guides_of_clips_are_maxima_over_all_before_and_all_after(counts: list[int]) -> None:
    clips, mask = clips_of(counts)
    before, after = clip_guides(clips, mask)
    for row, count in enumerate(counts):
        for clip in range(count):
            past, future = clips[row, :clip], clips[row, clip + 1 : count]
            nothing = torch.zeros(WIDTH)
            assert torch.equal(before[row, clip], past.amax(0) if len(past) else nothing)
            assert torch.equal(after[row, clip], future.amax(0) if len(future) else nothing)


@given(counts=videos, size=sizes)
def test_the_ranker_averages_over_real_neighbours(counts: list[int], size: int) -> None:
    ranker = Ranker(WIDTH, layers=1).double()
    _, mask = clips_of(counts)
    grid = block_grid(mask, size)
    x = torch.randn(*grid.mask.shape, WIDTH, dtype=torch.float64)
    first, last = grid.runs
    valid = torch.zeros(len(counts), grid.side, grid.side, dtype=torch.bool)
    valid[:, first, last] = grid.mask
    spread = torch.zeros(*valid.shape, WIDTH, dtype=torch.float64)
    spread[:, first, last] = x * grid.mask[..., None]
    mixed = F.relu(ranker.convolutions[0](spread.permute(0, 3, 1, 2)))
    logits = ranker(x, grid)
    for row, at in grid.mask.nonzero().tolist():
        i, j = int(first[at]), int(last[at])
        near = valid[row, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].sum()
        expected = ranker.logit(mixed[row, :, i, j] / near)[0]
        torch.testing.assert_close(logits[row, at], expected)
