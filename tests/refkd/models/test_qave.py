"""QAVE's own: spans by a sum, a raw match logit as gate, and the match loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models import QAVEConfig, build_backbone
from refkd.models.backbone import SpanLogits, SpanOutput
from refkd.models.layers import mask_logits
from refkd.models.qave import QAVE

INPUTS = ModelInputs(
    feature_dim=5,
    word_vectors=np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32),
    characters=4,
)


def network(**changes: float) -> QAVE:
    model = build_backbone(QAVEConfig(hidden=3, span_hidden=4, **changes), INPUTS, seed=0)
    assert isinstance(model, QAVE)
    return model.eval()


def batch_of(clips: list[int]) -> Batch:
    count, longest = len(clips), max(clips)
    length = torch.tensor(clips)
    return Batch(
        features=torch.randn(count, longest, 5),
        clips=length,
        words=torch.randint(1, 10, (count, 4)),
        characters=torch.zeros(count, 4, 16, dtype=torch.int64),
        start=length // 3,
        end=length // 2,
        moment=torch.stack([length // 3, length // 2 + 1], dim=1).float(),
        pairs=torch.arange(count),
    )


def said(start: Tensor, end: Tensor) -> SpanOutput:
    """Return an output of these span logits alone."""
    none = torch.zeros(0)
    spans = SpanLogits(start=start, end=end)
    return SpanOutput(spans=spans, match=none, fused=none, before_gate=none)


@given(seed=st.integers(0, 10**6), clips=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_proposals_are_the_largest_sums_of_probabilities(seed: int, clips: list[int]) -> None:
    torch.manual_seed(seed)
    model, batch = network(), batch_of(clips)
    start, end = (
        mask_logits(2 * torch.randn(batch.clip_mask.shape), batch.clip_mask) for _ in range(2)
    )
    found = model.proposals(said(start, end), batch, top=4)
    for row, count in enumerate(clips):
        p, q = start[row].softmax(0), end[row].softmax(0)
        sums = {(i, j + 1): float(p[i] + q[j]) for i in range(count) for j in range(i, count)}
        best = sorted(sums, key=lambda span: -sums[span])[:4]
        edges = [tuple(map(int, edge)) for edge in found.edges[row].tolist()]
        assert edges[: len(best)] == best[: len(edges)]
        expected = [sums[span] for span in edges][: len(best)]
        assert found.score[row, : len(best)].tolist() == pytest.approx(expected)


def test_a_sum_prefers_another_span_than_a_product() -> None:
    """One sure boundary outweighs a product of two unsure ones."""
    model, batch = network(), batch_of([3])
    start = torch.tensor([[0.01, 1e-9, 0.99]]).log()
    end = torch.tensor([[0.8, 0.199, 0.001]]).log()
    output = said(start, end)
    assert model.proposals(output, batch).edges[0, 0].tolist() == [2.0, 3.0]
    assert model.proposals(output, batch).score.item() == pytest.approx(0.991)
    assert super(QAVE, model).proposals(output, batch).edges[0, 0].tolist() == [0.0, 1.0]


def test_the_gate_is_the_raw_logit_and_the_video_is_shown() -> None:
    model, batch = network(), batch_of([6, 4])
    output = model(batch)
    torch.testing.assert_close(output.fused, output.match[..., None] * output.before_gate)
    assert output.match.min() < 0
    video = output.own["video"]
    assert video.shape == (2, 6, 6)
    assert torch.equal(output.before_gate[..., :6], video)
    assert (output.before_gate[..., 6:] == output.before_gate[:, :1, 6:]).all()


def test_the_encoded_video_is_normalised_with_torch_s_epsilon() -> None:
    """Of clips whose features hardly differ the layer norm leaves less than of others."""
    norm = network().video_norm
    faint = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]]) * 1e-5**0.5
    torch.testing.assert_close(norm(faint), faint.sign() / 2**0.5)


def test_the_auxiliary_loss_is_the_mean_match_error_over_valid_clips() -> None:
    batch = batch_of([6, 4])
    output = network()(batch)
    losses = []
    for row, count in enumerate([6, 4]):
        for clip in range(count):
            inside = batch.start[row] <= clip <= batch.end[row]
            p = output.match[row, clip].double().sigmoid()
            losses.append(-(p if inside else 1 - p).log())
    expected = torch.stack(losses).mean().item()
    assert network().auxiliary_loss(output, batch).item() == pytest.approx(expected, rel=1e-5)
    assert network(match_weight=0.0).auxiliary_loss(output, batch).item() == 0.0
