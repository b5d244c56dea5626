"""SeqPAN against a forward pass in numpy, its labels and losses, and its noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seqpan_numpy import SeqPANNumpy, softmax
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models import SeqPANConfig, build_backbone
from refkd.models.seqpan import SeqPAN, gumbel_noise, match_labels, overlap, soft_labels

INPUTS = ModelInputs(
    feature_dim=24,
    word_vectors=np.random.default_rng(0).normal(size=(48, 16)).astype(np.float32),
    characters=30,
)
SMALL = {"hidden": 32, "heads": 8, "char_dim": 8, "max_positions": 20}


def make_model(config: SeqPANConfig, *, shaken: float = 0.1) -> SeqPAN:
    """Return a network in float64 and evaluation mode, no bias 0 and no scale 1."""
    model = build_backbone(config, INPUTS, seed=0).double().eval()
    assert isinstance(model, SeqPAN)
    shake = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(shaken * torch.randn(parameter.shape, generator=shake))
    return model


def make_batch(clips: list[int], spans: list[tuple[int, int]]) -> Batch:
    """Return random pairs of as many words as rows allow, padded to the longest."""
    draw, count, longest = np.random.default_rng(3), len(clips), max(clips)
    features = torch.from_numpy(draw.normal(size=(count, longest, INPUTS.feature_dim)))
    words = torch.from_numpy(draw.integers(1, 50, size=(count, 6)))
    characters = torch.from_numpy(draw.integers(0, 30, size=(count, 6, 16)))
    for row, n in enumerate(clips):
        features[row, n:], words[row, 6 - row :], characters[row, 6 - row :] = 0, 0, 0
    start, end = torch.tensor(spans).T
    return Batch(
        features=features,
        clips=torch.tensor(clips),
        words=words,
        characters=characters,
        start=start,
        end=end,
        moment=torch.stack([start, end + 1], dim=1).double(),
        pairs=torch.arange(count),
    )


RAGGED = make_batch([20, 13, 9, 20], [(2, 7), (12, 12), (0, 8), (4, 6)])


def in_numpy(model: SeqPAN, batch: Batch) -> dict[str, np.ndarray]:
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    vectors = INPUTS.word_vectors.astype(np.float64)
    tau = model.config.tau if model.config.gumbel else None
    reference = SeqPANNumpy(weights, vectors, heads=model.config.heads, tau=tau)
    arrays = (batch.features, batch.clips, batch.words, batch.characters)
    return reference(*(array.numpy() for array in arrays))


@pytest.mark.parametrize("gumbel", [True, False])
def test_a_ragged_batch_gives_the_logits_and_losses_of_the_formulas(gumbel: bool) -> None:
    model = make_model(SeqPANConfig(gumbel=gumbel, mask_conv=False, **SMALL))
    found, expected, valid = model(RAGGED), in_numpy(model, RAGGED), RAGGED.clip_mask.numpy()
    assert close(found.own["classes"], expected["classes"], valid)
    assert close(found.fused, expected["fused"], np.ones_like(valid))
    assert close(found.spans.start, expected["start"], valid)
    assert close(found.spans.end, expected["end"], valid)

    inside = 1 - softmax(expected["classes"])[..., 0]
    assert close(found.match.sigmoid(), inside, valid)

    location, matching = 0.0, []
    for row, n in enumerate(RAGGED.clips.tolist()):
        start, end = int(RAGGED.start[row]), int(RAGGED.end[row])
        for logits, index in ((expected["start"], start), (expected["end"], end)):
            location -= np.sum(slow_soft_labels(index, n) * np.log(softmax(logits[row, :n]))) / 4
        rows = np.log(softmax(expected["classes"][row, :n]))
        matching += [-rows[i, label] for i, label in enumerate(slow_match_labels(start, end, n))]
    labels = model.labels.detach().numpy()
    products = (labels @ labels.T)[~np.eye(4, dtype=bool)]
    assert model.span_loss(found, RAGGED).item() == pytest.approx(location, abs=1e-9)
    auxiliary = model.auxiliary_loss(found, RAGGED).item()
    assert auxiliary == pytest.approx(np.mean(matching) + np.linalg.norm(products), abs=1e-9)


def test_full_rows_give_the_logits_of_the_formulas_with_the_default_switches() -> None:
    model = make_model(SeqPANConfig(**SMALL))
    batch = RAGGED.select(torch.tensor([0, 3]))
    found, expected = model(batch), in_numpy(model, batch)
    everywhere = batch.clip_mask.numpy()
    # The shorter query is padded, and the reference lets its padding through.
    assert not close(found.spans.start[1:], expected["start"][1:], everywhere[1:])
    assert close(found.spans.start[:1], expected["start"][:1], everywhere[:1])
    assert close(found.spans.end[:1], expected["end"][:1], everywhere[:1])


def close(found: Tensor, expected: np.ndarray, where: np.ndarray) -> bool:
    return np.allclose(found.detach().numpy()[where], expected[where], atol=1e-9, rtol=1e-9)


def slow_soft_labels(index: int, clips: int) -> np.ndarray:
    labels = np.full(clips, 1e-10)
    share = (1 - 0.5 - clips * 1e-10) / 2
    labels[index] += 0.5
    for neighbour in (index - 1, index + 1):
        if 0 <= neighbour < clips:
            labels[neighbour] = share
        else:
            labels[index] += share
    return labels


def slow_match_labels(start: int, end: int, clips: int) -> list[int]:
    begin, finish = (range(max(i - 1, 0), min(i + 2, clips)) for i in (start, end))
    labels = [0] * clips
    for i in range(clips):
        if begin.start <= i < finish.start:
            labels[i] = 1 if i < begin.stop else 2
        if i in finish:
            labels[i] = 3
    return labels


@given(clips=st.integers(1, 20), data=st.data())
def test_21_labels_sum_to_one_and_follow_their_definitions(
    clips: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, clips - 1))
    end = data.draw(st.integers(start, clips - 1))
    batch = make_batch([20, clips], [(0, 0), (start, end)])
    for index, name in ((start, batch.start), (end, batch.end)):
        labels = soft_labels(name, batch.clip_mask)
        np.testing.assert_allclose(labels[1, :clips], slow_soft_labels(index, clips), atol=1e-15)
        assert (labels[1, clips:] == 0).all()
        torch.testing.assert_close(labels.sum(dim=1), torch.ones(2).double(), atol=1e-9, rtol=0)
    classes = match_labels(batch)[1]
    assert (classes[clips:] == 0).all()
    assert classes[:clips].tolist() == slow_match_labels(start, end, clips)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (4, 4, [0, 0, 0, 3, 3, 3, 0, 0, 0, 0]),
        (4, 6, [0, 0, 0, 1, 1, 3, 3, 3, 0, 0]),
        (0, 9, [1, 1, 2, 2, 2, 2, 2, 2, 3, 3]),
        (2, 7, [0, 1, 1, 1, 2, 2, 3, 3, 3, 0]),
        (9, 9, [0, 0, 0, 0, 0, 0, 0, 0, 3, 3]),
    ],
)
def test_21_match_labels(start: int, end: int, expected: list[int]) -> None:
    assert match_labels(make_batch([10], [(start, end)])).tolist() == [expected]


def test_soft_labels_at_the_borders() -> None:
    mask = torch.tensor([[True] * 4, [True] * 4, [True, False, False, False]])
    labels = soft_labels(torch.tensor([0, 3, 0]), mask)
    expected = torch.tensor([[0.75, 0.25, 0, 0], [0, 0, 0.25, 0.75], [1, 0, 0, 0]])
    torch.testing.assert_close(labels, expected.double(), atol=1e-8, rtol=0)


def test_21_the_label_vectors_are_orthogonal_at_first() -> None:
    model = make_model(SeqPANConfig(**SMALL), shaken=0.0)
    assert overlap(model.labels).item() < 1e-6
    exact = torch.eye(4, 8, requires_grad=True)
    overlap(exact).backward()
    assert exact.grad is not None
    assert (exact.grad == 0).all()
    assert overlap(torch.ones(4, 2)).item() == pytest.approx(2 * math.sqrt(12))


def test_noise_is_drawn_in_training_alone_from_the_global_generator() -> None:
    model = make_model(SeqPANConfig(dropout=0.0, **SMALL))
    plain = model(RAGGED)
    before = torch.get_rng_state()
    model(RAGGED)
    assert torch.equal(torch.get_rng_state(), before)
    model.train()
    torch.manual_seed(5)
    noisy = model(RAGGED)
    torch.manual_seed(5)
    noise = gumbel_noise(noisy.own["classes"])
    torch.testing.assert_close(noisy.own["classes"], plain.own["classes"] + noise / 0.3)
    assert torch.equal(noisy.match, plain.match)
    assert not torch.equal(noisy.spans.start, plain.spans.start)
    quiet = make_model(SeqPANConfig(dropout=0.0, gumbel=False, **SMALL)).train()
    assert torch.equal(quiet(RAGGED).spans.start, quiet(RAGGED).spans.start)


def test_the_noise_is_gumbels() -> None:
    noise = gumbel_noise(torch.empty(200_000))
    assert torch.isfinite(noise).all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.std().item() == pytest.approx(math.pi / math.sqrt(6), abs=0.02)
    assert (noise < 0).double().mean().item() == pytest.approx(math.exp(-1), abs=0.01)


def test_the_match_weight_scales_the_whole_auxiliary_loss() -> None:
    one = make_model(SeqPANConfig(**SMALL))
    half = make_model(SeqPANConfig(match_weight=0.5, **SMALL))
    losses = [model.auxiliary_loss(model(RAGGED), RAGGED) for model in (one, half)]
    torch.testing.assert_close(losses[1], 0.5 * losses[0])


def test_the_small_count_is_the_references_whose_character_table_has_no_padding() -> None:
    model = make_model(SeqPANConfig(**SMALL))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count - model.config.char_dim == 72_962
