"""The losses of a teacher under a recipe, term by term."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.models import VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone, SpanBackbone, span_cross_entropy
from refkd.models.order import OrderHead
from refkd.recipes import RecipeConfig, TeacherLoss, translate
from refkd.recipes.losses import match_divergence, match_loss
from refkd.seeds import derive_seed

STOPS = ["none", "original", "moved"]


def moment(clips: list[int], spans: list[tuple[int, int]]) -> Batch:
    """Return a batch without content, for losses that read spans and lengths alone."""
    count, longest = len(clips), max(clips)
    start, end = torch.tensor(spans).T
    return Batch(
        features=torch.zeros(count, longest, 1),
        clips=torch.tensor(clips),
        words=torch.ones(count, 1, dtype=torch.int64),
        characters=torch.zeros(count, 1, 16, dtype=torch.int64),
        start=start,
        end=end,
        moment=torch.stack([start, end + 1], dim=1).float(),
        pairs=torch.arange(count),
    )


ORIGINAL = moment([8, 6, 5], [(1, 3), (0, 5), (2, 2)])
MOVED = replace(ORIGINAL, start=torch.tensor([5, 0, 2]), end=torch.tensor([7, 5, 2]))


def scores(seed: int) -> Tensor:
    drawn = torch.randn(3, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (3 * drawn).requires_grad_()


def divergence_by_hand(original: Tensor, moved: Tensor) -> Tensor:
    """Return KL(a^o ‖ a^p) pair by pair, each moment cut out and its own softmax taken."""
    losses = []
    for row in range(3):
        o = original[row, int(ORIGINAL.start[row]) : int(ORIGINAL.end[row]) + 1].log_softmax(0)
        p = moved[row, int(MOVED.start[row]) : int(MOVED.end[row]) + 1].log_softmax(0)
        losses.append((o.exp() * (o - p)).sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("stop", STOPS)
@given(seed=st.integers(0, 2**31))
def test_the_match_divergence_is_aligned_by_place_in_the_moment(stop: str, seed: int) -> None:
    original, moved = scores(seed), scores(seed + 1)
    found = match_divergence(original, ORIGINAL, moved, MOVED, stop)
    torch.testing.assert_close(found, divergence_by_hand(original, moved))
    assert found >= 0


@given(seed=st.integers(0, 2**31), shift=st.floats(-5, 5))
def test_equal_scores_inside_both_moments_cost_nothing(seed: int, shift: float) -> None:
    """Whatever the scores are outside, and up to a constant, which a softmax does not see."""
    original, moved = scores(seed).detach(), scores(seed + 1).detach().clone()
    for row in range(3):
        o = slice(int(ORIGINAL.start[row]), int(ORIGINAL.end[row]) + 1)
        p = slice(int(MOVED.start[row]), int(MOVED.end[row]) + 1)
        moved[row, p] = original[row, o] + shift
    found = match_divergence(original, ORIGINAL, moved, MOVED, "none")
    assert found.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("stop", STOPS)
def test_the_divergence_gives_no_gradient_where_it_is_stopped(stop: str) -> None:
    original, moved = scores(0), scores(1)
    match_divergence(original, ORIGINAL, moved, MOVED, stop).backward()
    assert (original.grad is None) == (stop == "original")
    assert (moved.grad is None) == (stop == "moved")
    for gradient, batch in ((original.grad, ORIGINAL), (moved.grad, MOVED)):
        if gradient is not None:
            positions = torch.arange(8)
            inside = (positions >= batch.start[:, None]) & (positions <= batch.end[:, None])
            assert (gradient[~inside] == 0).all()
            assert gradient[0][inside[0]].abs().max() > 1e-6


@given(seed=st.integers(0, 2**31))
def test_the_match_loss_is_the_mean_over_all_valid_clips(seed: int) -> None:
    match = scores(seed)
    valid, labels = [], []
    for row in range(3):
        n, s, e = (int(x[row]) for x in (ORIGINAL.clips, ORIGINAL.start, ORIGINAL.end))
        valid.append(match[row, :n])
        labels.append(torch.tensor([float(s <= i <= e) for i in range(n)]).double())
    expected = F.binary_cross_entropy_with_logits(torch.cat(valid), torch.cat(labels))
    torch.testing.assert_close(match_loss(match, ORIGINAL), expected)


@pytest.fixture(scope="module")
def network(tiny_dataset: Dataset) -> SpanBackbone:
    config = VSLNetConfig(hidden=16, heads=2, char_dim=4, max_positions=32)
    built = build_backbone(config, tiny_dataset.model_inputs(), seed=0).eval()
    assert isinstance(built, SpanBackbone)
    return built


@pytest.fixture(scope="module")
def batch(tiny_dataset: Dataset) -> Batch:
    return tiny_dataset.role("fit").batch(range(12))


def order_head() -> OrderHead:
    """Return an order head with known weights and without dropout."""
    torch.manual_seed(3)
    return OrderHead(16, dropout=0.0)


def loss_of(
    network: Backbone, batch: Batch, *, seed: int = 0, epoch: int = 0, **switches: Any
) -> tuple[float, dict[str, float]]:
    recipe = RecipeConfig.model_validate(switches)
    loss = TeacherLoss(recipe, augment=translate, order=order_head())
    terms = loss(network, batch, seed=seed, epoch=epoch)
    return terms.total.item(), {name: value.item() for name, value in terms.parts.items()}


def test_an_ordinary_teacher_has_its_spans_and_its_own_losses(
    network: Backbone, batch: Batch
) -> None:
    total, parts = loss_of(network, batch)
    output = network(batch)
    assert parts.keys() == {"span", "aux"}
    assert parts["span"] == pytest.approx(span_cross_entropy(output.spans, batch).item())
    assert parts["aux"] == pytest.approx(network.auxiliary_loss(output, batch).item())
    assert total == pytest.approx(parts["span"] + parts["aux"])


def test_the_papers_ood_teacher_adds_the_copys_losses(network: Backbone, batch: Batch) -> None:
    weights = {"w_span_aug": 0.5, "w_match": 0.25, "w_kl": 2.0, "w_highlight_aug": 0.125}
    total, parts = loss_of(network, batch, seed=3, epoch=4, preset="refkd_text", **weights)
    copy = translate(batch, seed=3, epoch=4)
    before, after = network(batch), network(copy)
    expected = {
        "span": span_cross_entropy(before.spans, batch),
        "aux": network.auxiliary_loss(before, batch),
        "match": match_loss(before.match, batch),
        "span_aug": span_cross_entropy(after.spans, copy),
        "match_aug": match_loss(after.match, copy),
        "match_kl": match_divergence(before.match, batch, after.match, copy, "none"),
        "aux_aug": network.auxiliary_loss(after, copy),
    }
    assert parts == pytest.approx({name: value.item() for name, value in expected.items()})
    assert total == pytest.approx(
        parts["span"]
        + parts["aux"]
        + 0.25 * (parts["match"] + parts["match_aug"])
        + 0.5 * parts["span_aug"]
        + 2.0 * parts["match_kl"]
        + 0.125 * parts["aux_aug"]
    )


def test_without_the_original_only_the_copy_is_trained_on(network: Backbone, batch: Batch) -> None:
    total, parts = loss_of(network, batch, preset="refkd_text", keep_original=False, w_kl=0)
    assert parts.keys() == {"span_aug", "match_aug"}
    assert total == pytest.approx(sum(parts.values()))


def test_a_share_of_the_pairs_is_copied(network: Backbone, tiny_dataset: Dataset) -> None:
    """Over 40 epochs of 90 pairs the share is 0.3 within 4 standard errors (0.0306)."""
    copied: list[list[int]] = []

    def watched(rows: Batch, *, seed: int, epoch: int) -> Batch:
        copied.append(rows.pairs.tolist())
        return rows

    recipe = RecipeConfig.model_validate({"preset": "refkd_text", "p_aug": 0.3})
    loss, pairs = TeacherLoss(recipe, augment=watched), tiny_dataset.role("fit")
    everyone = pairs.batch(range(len(pairs)))
    with torch.no_grad():
        for epoch in range(40):
            loss(network, everyone, seed=0, epoch=epoch)
    drawn = sum(map(len, copied))
    share = drawn / (40 * len(pairs))
    assert share == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / (40 * len(pairs))) ** 0.5)
    assert copied[0] != copied[1]  # another epoch copies others


def test_which_pairs_are_copied_does_not_depend_on_their_batch(
    network: Backbone, batch: Batch
) -> None:
    switches = {"preset": "refkd_text", "p_aug": 0.5, "w_match": 0, "w_kl": 0}

    def aug(rows: Batch) -> float:
        return loss_of(network, rows, seed=1, epoch=2, **switches)[1].get("span_aug", -1.0)

    alone = [aug(batch.select(torch.tensor([row]))) for row in range(len(batch))]
    copied = [value for value in alone if value >= 0]
    assert 0 < len(copied) < len(batch)
    assert aug(batch) == pytest.approx(sum(copied) / len(copied), abs=1e-4)
    assert aug(batch.select(torch.arange(len(batch)).flip(0))) == pytest.approx(aug(batch))


def test_no_pair_copied_leaves_the_ordinary_losses(network: Backbone, batch: Batch) -> None:
    total, parts = loss_of(network, batch, preset="refkd_text", p_aug=0.0, w_match=0)
    assert parts.keys() == {"span", "aux"}
    assert total == pytest.approx(parts["span"] + parts["aux"])


def test_the_order_loss_tells_moved_copies_from_filmed_ones(
    network: SpanBackbone, batch: Batch
) -> None:
    """Cross-entropy over the 2B rows, label 0 as filmed and 1 moved, by hand."""
    total, parts = loss_of(network, batch, seed=3, epoch=4, preset="hao2022", w_ord=0.5)
    copy, head = translate(batch, seed=3, epoch=4), order_head()
    losses = []
    for label, pairs in enumerate((batch, copy)):
        features = network(pairs).before_gate
        logits = head(features, pairs.clip_mask, pairs.start, pairs.end)
        losses += [-logits.log_softmax(dim=1)[row, label] for row in range(len(batch))]
    assert parts["order"] == pytest.approx(torch.stack(losses).mean().item(), abs=1e-6)
    assert parts.keys() == {"span", "aux", "match", "match_aug", "match_kl", "order"}
    shuffle_video = sum(parts[n] for n in ("span", "match", "match_aug", "match_kl"))
    assert total == pytest.approx(shuffle_video + parts["aux"] + 0.5 * parts["order"])


def test_the_span_head_of_shuffle_video_never_learns_from_the_copy(
    network: SpanBackbone, batch: Batch
) -> None:
    def gradients(**switches: Any) -> list[Tensor]:
        network.zero_grad()
        recipe = RecipeConfig.model_validate(switches)
        loss = TeacherLoss(recipe, augment=translate, order=order_head())
        loss(network, batch, seed=0, epoch=0).total.backward()
        return [p.grad.clone() for p in network.span_head.parameters() if p.grad is not None]

    ordinary, shuffled, taught = (gradients(preset=n) for n in ("id", "hao2022", "refkd_text"))
    assert ordinary
    assert all(torch.equal(a, b) for a, b in zip(ordinary, shuffled, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(ordinary, taught, strict=True))


def test_two_copies_have_places_of_their_own_and_their_losses_are_added(
    network: SpanBackbone, batch: Batch
) -> None:
    switches = {"preset": "refkd_text", "w_match": 0, "w_kl": 0}
    _, one = loss_of(network, batch, seed=3, epoch=1, **switches)
    _, two = loss_of(network, batch, seed=3, epoch=1, copies=2, **switches)
    other = translate(batch, seed=derive_seed(3, "copy", 1), epoch=1)
    assert not torch.equal(other.start, translate(batch, seed=3, epoch=1).start)
    second = span_cross_entropy(network(other).spans, other).item()
    assert two["span_aug"] == pytest.approx(one["span_aug"] + second)
