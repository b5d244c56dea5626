"""EMB's elastic labels: the schedule, the trusted proposal, and the losses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models import EMBConfig, build_backbone
from refkd.models.backbone import SpanLogits, SpanOutput, span_cross_entropy
from refkd.models.blocks import block_grid
from refkd.models.elastic import (
    elastic_loss,
    iou_threshold,
    overlap,
    rank_labels,
    trusted_spans,
)
from refkd.models.emb import EMB
from refkd.models.layers import mask_logits
from refkd.models.vslnet import highlight_labels, highlight_loss

BLOCK = 3
SCHEDULE = {
    0: 1.0,
    25: 0.997,
    40: 0.940,
    45: 0.866,
    50: 0.750,
    55: 0.634,
    60: 0.560,
    75: 0.503,
    99: 0.500,
}
INPUTS = ModelInputs(
    feature_dim=5,
    word_vectors=np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32),
    characters=45,
)
SMALL = EMBConfig(hidden=8, heads=2, block=BLOCK, max_positions=32)


def network(**changes: object) -> EMB:
    config = EMBConfig.model_validate({**SMALL.model_dump(), **changes})
    model = build_backbone(config, INPUTS, seed=0)
    assert isinstance(model, EMB)
    return model.eval()


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Draw pairs with moments anywhere on and beside the grid."""
    clips = torch.tensor(draw(st.lists(st.integers(1, 20), min_size=1, max_size=5)))
    torch.manual_seed(draw(st.integers(0, 10**6)))
    start = (torch.rand(len(clips)) * clips).long()
    end = start + (torch.rand(len(clips)) * (clips - start)).long()
    moment = torch.stack([start, end + 1], dim=1) + 0.4 * torch.rand(len(clips), 2)
    return Batch(
        features=torch.randn(len(clips), int(clips.max()), 5),
        clips=clips,
        words=torch.randint(1, 10, (len(clips), 4)),
        characters=torch.zeros(len(clips), 4, 16, dtype=torch.int64),
        start=start,
        end=end,
        moment=moment,
        pairs=torch.arange(len(clips)),
    )


def said(batch: Batch, rank: Tensor) -> SpanOutput:
    """Return an output with random span and match logits and these ranks."""
    start, end = (
        mask_logits(torch.randn(batch.clip_mask.shape), batch.clip_mask) for _ in range(2)
    )
    match, none = torch.randn_like(start), torch.zeros(0)
    spans = SpanLogits(start=start, end=end)
    return SpanOutput(spans=spans, match=match, fused=none, before_gate=none, own={"rank": rank})


def iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (a[1] - a[0] + b[1] - b[0] - shared)


def trusted_by_hand(rank: Tensor, batch: Batch, threshold: float) -> list[tuple[int, int]]:
    side = -(-int(batch.clips.max()) // BLOCK)
    runs = [(i, j) for i in range(side) for j in range(i, side)]
    found = []
    for row, count in enumerate(batch.clips.tolist()):
        truth = (int(batch.start[row]), int(batch.end[row]))
        close = {}
        for at, (i, j) in enumerate(runs):
            span = (i * BLOCK, min((j + 1) * BLOCK, count) - 1)
            if j * BLOCK >= count:
                continue
            if iou((span[0], span[1] + 1), (truth[0], truth[1] + 1)) >= threshold:
                close[span] = float(rank[row, at])
        found.append(max(close, key=lambda span: close[span]) if close else truth)
    return found


@pytest.mark.parametrize(("epoch", "expected"), SCHEDULE.items())
def test_the_threshold_falls_as_published(epoch: int, expected: float) -> None:
    assert iou_threshold(epoch, 100) == pytest.approx(expected, abs=5e-4)
    model = network()
    model.begin_epoch(epoch, 100)
    assert model.threshold == iou_threshold(epoch, 100)


@given(epochs=st.integers(1, 300))
def test_the_threshold_falls_from_one_to_a_half_whatever_the_epochs(epochs: int) -> None:
    taus = [iou_threshold(epoch, epochs) for epoch in range(epochs)]
    assert taus[0] > 0.9999
    assert all(a > b >= 0.5 for a, b in pairwise(taus))


@given(batch=batches(), threshold=st.floats(0.3, 1.0))
def test_the_trusted_span_is_the_best_ranked_close_proposal(
    batch: Batch, threshold: float
) -> None:
    grid = block_grid(batch.clip_mask, BLOCK)
    rank = torch.randn(grid.mask.shape)
    found = trusted_spans(rank, grid, batch, threshold)
    expected = trusted_by_hand(rank, batch, threshold)
    assert [tuple(span) for span in found.tolist()] == expected


@given(batch=batches())
def test_overlaps_and_rank_labels_are_those_written_out(batch: Batch) -> None:
    grid = block_grid(batch.clip_mask, BLOCK)
    found, labels = overlap(grid.spans, *batch.moment.T), rank_labels(grid, batch)
    for row, at in grid.mask.nonzero().tolist():
        first, last = grid.spans[row, at].tolist()
        expected = iou((first, last + 1), tuple(batch.moment[row].tolist()))
        assert float(found[row, at]) == pytest.approx(expected, abs=1e-5)
        label = min(1.0, max(0.0, (expected - 0.3) / 0.4))
        assert float(labels[row, at]) == pytest.approx(label, abs=1e-4)


def test_empty_and_reversed_moments_have_finite_rank_labels() -> None:
    batch = replace(example(), moment=torch.tensor([[4.0, 4.0], [9.0, 2.0]]))
    labels = rank_labels(block_grid(batch.clip_mask, BLOCK), batch)
    assert torch.isfinite(labels).all()
    assert (labels == 0).all()


@given(batch=batches(), seed=st.integers(0, 999))
def test_the_elastic_loss_counts_the_mass_between_both_boundaries(batch: Batch, seed: int) -> None:
    torch.manual_seed(seed)
    logits = mask_logits(torch.randn(batch.clip_mask.shape), batch.clip_mask)
    other = (torch.rand(len(batch)) * batch.clips).long()
    mass = [
        logits[row].softmax(0)[min(s, o) : max(s, o) + 1].sum().log()
        for row, (s, o) in enumerate(zip(batch.start.tolist(), other.tolist(), strict=True))
    ]
    expected = -torch.stack(mass).mean()
    torch.testing.assert_close(elastic_loss(logits, batch.start, other), expected)
    torch.testing.assert_close(elastic_loss(logits, other, batch.start), expected)


@given(batch=batches())
def test_where_nothing_is_trusted_the_span_loss_is_cross_entropy(batch: Batch) -> None:
    model, output = (
        network(),
        said(batch, torch.zeros(block_grid(batch.clip_mask, BLOCK).mask.shape)),
    )
    model.threshold = 1.1
    expected = span_cross_entropy(output.spans, batch)
    torch.testing.assert_close(model.span_loss(output, batch), expected)
    model.threshold = 0.0
    assert model.span_loss(output, batch) <= expected + 1e-6


def example() -> Batch:
    """Two videos of 12 clips; the moment 4..7 lies beside the grid of blocks of 3."""
    both = torch.tensor([4, 4])
    return Batch(
        features=torch.randn(2, 12, 5),
        clips=torch.tensor([12, 12]),
        words=torch.randint(2, 10, (2, 4)),
        characters=torch.zeros(2, 4, 16, dtype=torch.int64),
        start=both,
        end=both + 3,
        moment=torch.tensor([[4.0, 8.0], [4.0, 8.0]]),
        pairs=torch.arange(2),
    )


@pytest.mark.parametrize(
    ("quirks", "end_set", "foreground"),
    [(False, (7, 8), (3, 8)), (True, (7, 9), (3, 7))],
    ids=["corrected", "reference"],
)
def test_the_reference_s_quirks_are_behind_their_switch(
    quirks: bool, end_set: tuple[int, int], foreground: tuple[int, int]
) -> None:
    """The trusted proposal is 3..8: blocks 1 and 2."""
    model, batch = network(reference_quirks=quirks), example()
    rank = torch.zeros(2, 10)
    rank[:, 5] = 5.0
    output = said(batch, rank)
    model.begin_epoch(99, 100)
    low, high = end_set
    start = -output.spans.start.log_softmax(1)[:, 3:5].logsumexp(1).mean()
    end = -output.spans.end.log_softmax(1)[:, low : high + 1].logsumexp(1).mean()
    torch.testing.assert_close(model.span_loss(output, batch), start + end)
    ranks_alone = network(reference_quirks=quirks, highlight_weight=0.0)
    both = torch.tensor([foreground] * 2)
    labels = highlight_labels(replace(batch, start=both[:, 0], end=both[:, 1]))
    highlight = highlight_loss(output.match, labels, batch.clip_mask)
    found = model.auxiliary_loss(output, batch) - ranks_alone.auxiliary_loss(output, batch)
    torch.testing.assert_close(found, 5 * highlight)


@pytest.mark.parametrize("quirks", [False, True], ids=["corrected", "reference"])
def test_an_incomplete_last_block_is_filled_up_by_the_reference_alone(quirks: bool) -> None:
    """Eleven clips alone end in a block of two; beside a longer video it is a whole block."""
    model = network(reference_quirks=quirks).double()
    beside = replace(example(), clips=torch.tensor([11, 12])).to("cpu", torch.float64)
    alone = beside.select(torch.tensor([0]))
    alone = replace(alone, features=alone.features[:, :11])
    real = block_grid(alone.clip_mask, BLOCK).mask
    difference = (model(alone).own["rank"] - model(beside).own["rank"][:1])[real].abs().max()
    assert (difference > 1e-6) == quirks
    assert quirks or difference < 1e-9


def test_the_reference_s_character_part_gets_no_gradient() -> None:
    model, batch = network(reference_quirks=True), example()
    output = model(batch)
    (model.span_loss(output, batch) + model.auxiliary_loss(output, batch)).backward()
    unread = [p.numel() for p in model.parameters() if p.grad is None]
    assert sum(unread) == 17_350
