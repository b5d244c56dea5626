"""The MRTNet reconstruction: its module, its loss, and the VSLNet that is left without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models import MRTNetConfig, QAVEConfig, Tan2DConfig, VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone
from refkd.models.mrtnet import MRTNet, clip_loss, doubled, halved, sequence_loss
from refkd.models.vslnet import VSLNet, highlight_labels, highlight_loss

INPUTS = ModelInputs(
    feature_dim=12,
    word_vectors=np.random.default_rng(0).normal(size=(30, 10)).astype(np.float32),
    characters=20,
)
SMALL = {"hidden": 16, "heads": 4, "char_dim": 6, "max_positions": 24}
CLIPS = [1, 2, 5, 9, 16, 23]


def make_batch() -> Batch:
    draw, count, longest = np.random.default_rng(2), len(CLIPS), max(CLIPS)
    features = torch.from_numpy(draw.normal(size=(count, longest, INPUTS.feature_dim)))
    for row, n in enumerate(CLIPS):
        features[row, n:] = 0
    start = torch.tensor([n // 3 for n in CLIPS])
    end = torch.tensor([n - 1 - n // 4 for n in CLIPS])
    return Batch(
        features=features,
        clips=torch.tensor(CLIPS),
        words=torch.from_numpy(draw.integers(1, 32, size=(count, 5))),
        characters=torch.from_numpy(draw.integers(0, 20, size=(count, 5, 16))),
        start=start,
        end=end,
        moment=torch.stack([start, end + 1], dim=1).double(),
        pairs=torch.arange(count),
    )


BATCH = make_batch()


def shaken(model: Backbone) -> Backbone:
    """Return the network in float64 and evaluation mode, no bias 0 and no scale 1."""
    shake = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=shake))
    return model.double().eval()


def made(config: MRTNetConfig | VSLNetConfig) -> Backbone:
    return shaken(build_backbone(config, INPUTS, seed=0))


def test_without_levels_it_is_vslnet_with_the_transformer_predictor() -> None:
    vslnet = made(VSLNetConfig(predictor="transformer", **SMALL))
    config = MRTNetConfig(levels=0, clip_weight=0, sequence_weight=0, mrt_weight=5, **SMALL)
    mrtnet = build_backbone(config, INPUTS, seed=1).double().eval()
    assert isinstance(vslnet, VSLNet)
    assert isinstance(mrtnet, MRTNet)
    weights = vslnet.state_dict()
    renamed = {name.replace("highlight.", "scores.0."): value for name, value in weights.items()}
    mrtnet.load_state_dict(renamed)
    mine, theirs = mrtnet(BATCH), vslnet(BATCH)
    for name in ("match", "fused", "before_gate"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    assert torch.equal(mine.spans.start, theirs.spans.start)
    assert torch.equal(mine.spans.end, theirs.spans.end)
    torch.testing.assert_close(
        mrtnet.auxiliary_loss(mine, BATCH), vslnet.auxiliary_loss(theirs, BATCH)
    )


@pytest.mark.parametrize("levels", [1, 3, 6])
def test_each_level_has_half_the_clips_and_is_read_by_the_gate(levels: int) -> None:
    model = made(MRTNetConfig(levels=levels, **SMALL))
    output = model(BATCH)
    lengths = [output.own[f"level{r}"].shape[1] for r in range(levels + 1)]
    assert lengths == [-(-max(CLIPS) // 2**r) for r in range(levels + 1)]
    assert torch.equal(output.own["level0"], output.match)
    output.spans.start[BATCH.clip_mask].square().sum().backward()
    for name in ("down", "encoders", "merges", "decoders"):
        for level, part in enumerate(getattr(model.resolutions, name)):
            moved = [p.grad.abs().max() for p in part.parameters() if p.grad is not None]
            assert moved, (name, level)
            assert max(moved) > 0, (name, level)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_a_halved_mask_is_the_mask_of_half_the_clips(clips: list[int]) -> None:
    mask = torch.arange(max(clips)) < torch.tensor(clips)[:, None]
    half = halved(mask)
    assert half.shape[1] == -(-max(clips) // 2)
    assert half.sum(dim=1).tolist() == [-(-n // 2) for n in clips]


@given(st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=3))
def test_halved_labels_are_max_pooled(rows: list[list[bool]]) -> None:
    labels = torch.tensor(rows)
    pooled = F.max_pool1d(labels.double()[:, None], 2)[:, 0] > 0
    assert torch.equal(halved(labels), pooled)
    assert torch.equal(halved(labels[:, :11])[:, :5], pooled[:, :5])
    assert torch.equal(halved(labels[:, :11])[:, 5], labels[:, 10])


@given(length=st.integers(1, 17))
def test_doubling_a_full_row_is_linear_interpolation(length: int) -> None:
    coarse = torch.randn(2, length, 3, dtype=torch.float64)
    full = torch.tensor([length, length])
    expected = F.interpolate(
        coarse.transpose(1, 2), scale_factor=2, mode="linear", align_corners=False
    ).transpose(1, 2)
    torch.testing.assert_close(doubled(coarse, 2 * length, full), expected)
    torch.testing.assert_close(
        doubled(coarse, 2 * length - 1, full), expected[:, : 2 * length - 1]
    )


@given(clips=st.integers(1, 30), padding=st.integers(0, 9))
def test_doubling_never_reads_a_padded_position(clips: int, padding: int) -> None:
    half = -(-clips // 2)
    coarse = torch.randn(1, -(-(clips + padding) // 2), 2)
    alone = doubled(coarse[:, :half], clips, torch.tensor([half]))
    inside = doubled(coarse, clips + padding, torch.tensor([half]))[:, :clips]
    assert torch.equal(alone, inside)


def test_the_hybrid_loss_is_the_mean_over_levels_of_its_three_terms() -> None:
    config = MRTNetConfig(
        frame_weight=2.0, clip_weight=3.0, sequence_weight=5.0, mrt_weight=0.5, **SMALL
    )
    model = made(config)
    output = model(BATCH)
    labels, mask, total = highlight_labels(BATCH), BATCH.clip_mask, torch.zeros(())
    for level in range(4):
        logits = output.own[f"level{level}"]
        scores = logits.sigmoid().masked_fill(~mask, 0)
        total = total + 2 * highlight_loss(logits, labels, mask)
        total = total + 3 * clip_loss(scores, labels.double(), mask)
        total = total + 5 * sequence_loss(scores, labels.double())
        labels, mask = halved(labels), halved(mask)
    torch.testing.assert_close(model.auxiliary_loss(output, BATCH), 0.5 * total / 4)


def test_weights_of_zero_switch_terms_off() -> None:
    names = ("frame_weight", "clip_weight", "sequence_weight")

    def loss(*on: str) -> Tensor:
        off = {name: 0.0 for name in names if name not in on}
        model = made(MRTNetConfig(**off, **SMALL))
        return model.auxiliary_loss(model(BATCH), BATCH)

    assert loss().item() == 0
    alone = [loss(name) for name in names]
    assert all(value.item() > 0 for value in alone)
    torch.testing.assert_close(loss(*names), torch.stack(alone).sum())


@pytest.mark.parametrize("length", [1, 4, 11, 30])
def test_clip_and_sequence_terms_vanish_only_where_scores_are_the_labels(length: int) -> None:
    mask = torch.ones(2, length, dtype=torch.bool)
    labels = torch.zeros(2, length, dtype=torch.float64)
    labels[:, length // 3 : length // 2 + 1] = 1
    assert clip_loss(labels, labels, mask).item() == pytest.approx(0, abs=1e-12)
    assert sequence_loss(labels, labels).item() == pytest.approx(0, abs=1e-12)
    for other in (1 - labels, 0.5 * labels, torch.full_like(labels, 0.3)):
        assert 0 < clip_loss(other, labels, mask).item() <= 2
        assert 0 < sequence_loss(other, labels).item() <= 1


def test_the_clip_term_is_one_minus_the_structural_similarity() -> None:
    draw = np.random.default_rng(0)
    scores, labels = draw.random(20), (draw.random(20) < 0.4).astype(float)
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window /= window.sum()
    similarity = []
    for i in range(20):
        p, y = (np.pad(x, 5)[i : i + 11] for x in (scores, labels))
        mp, my = window @ p, window @ y
        vp, vy = window @ p**2 - mp**2, window @ y**2 - my**2
        cov = window @ (p * y) - mp * my
        top = (2 * mp * my + 1e-4) * (2 * cov + 9e-4)
        similarity.append(top / ((mp**2 + my**2 + 1e-4) * (vp + vy + 9e-4)))
    mask = torch.ones(1, 20, dtype=torch.bool)
    found = clip_loss(torch.from_numpy(scores)[None], torch.from_numpy(labels)[None], mask)
    assert found.item() == pytest.approx(1 - np.mean(similarity), abs=1e-12)


def test_its_name_says_that_it_is_a_reconstruction() -> None:
    assert MRTNetConfig().label == "MRTNet (reconstruction)"
    assert VSLNetConfig().label == "VSLNet"
    assert [c.label for c in (QAVEConfig(), Tan2DConfig())] == ["QAVE", "2D-TAN"]
    for text in (MRTNetConfig.__doc__, MRTNet.__doc__, MRTNetConfig.model_json_schema()):
        assert "reconstruction" in str(text)
