"""2D-TAN piece by piece, each against a plain loop; the contract suite holds the whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.grid import pool
from refkd.data.inputs import ModelInputs
from refkd.evaluation.overlap import temporal_iou
from refkd.models import BackboneConfig, Tan2DConfig, build_backbone
from refkd.models.backbone import BackboneOutput
from refkd.models.map2d import anchors, at_clips, spread, suppress
from refkd.models.tan2d import Tan2D, resample
from refkd.training.student import StudentConfig

VECTORS = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
VECTORS[3] = 0.0
INPUTS = ModelInputs(feature_dim=4, word_vectors=VECTORS, characters=5)
SMALL = Tan2DConfig(hidden=6, map_clips=4, segments=8, convolutions=2, kernel=3, text_layers=1)


def built(config: Tan2DConfig = SMALL) -> Tan2D:
    model = build_backbone(config, INPUTS, seed=0)
    assert isinstance(model, Tan2D)
    return model.double().eval()


def batch_of(clips: list[int], moment: list[list[float]]) -> Batch:
    draw = torch.Generator().manual_seed(1)
    count, longest = len(clips), max(clips)
    features = torch.randn(count, longest, 4, generator=draw, dtype=torch.float64)
    for row, n in enumerate(clips):
        features[row, n:] = 0
    nothing = torch.zeros(count, dtype=torch.int64)
    return Batch(
        features=features,
        clips=torch.tensor(clips),
        words=torch.full((count, 2), 2),
        characters=torch.zeros(count, 2, 16, dtype=torch.int64),
        start=nothing,
        end=nothing,
        moment=torch.tensor(moment),
        pairs=torch.arange(count),
    )


def said(model: Tan2D, batch: Batch, logits: torch.Tensor) -> BackboneOutput:
    """Return what the network would say of a batch if its map had these logits (B, A)."""
    spans, match = model._marginals(logits, batch)
    return BackboneOutput(spans=spans, match=match, own={"anchors": logits})


@pytest.mark.parametrize(("clips", "count"), [(8, 36), (16, 136), (64, 1104), (128, 2548)])
def test_the_map_has_the_references_valid_cells(clips: int, count: int) -> None:
    cells = {tuple(cell) for cell in anchors(clips).tolist()}
    assert len(cells) == len(anchors(clips)) == count
    expected = set()
    for first in range(clips):
        for last in range(first, clips):
            length = last - first + 1
            step = max(1, 2 ** int(np.ceil(np.log2(length / 16)))) if length > 16 else 1
            if first % step == 0 and length % step == 0:
                expected.add((first, last))
    assert cells == expected


@pytest.mark.parametrize(
    ("config", "features", "count"),
    [
        (Tan2DConfig(), 4096, 60_925_953),
        (Tan2DConfig(sparse="conv"), 4096, 69_060_609),
        (Tan2DConfig(map_clips=64, convolutions=4, kernel=9), 500, 91_588_609),
        (Tan2DConfig(map_clips=64, convolutions=4, kernel=9, sparse="conv"), 500, 108_644_353),
        (Tan2DConfig(map_clips=128), 4096, 60_925_953),
    ],
)
def test_parameter_counts_are_the_published_ones(
    config: Tan2DConfig, features: int, count: int
) -> None:
    inputs = ModelInputs(
        feature_dim=features, word_vectors=np.zeros((3, 300), dtype=np.float32), characters=45
    )
    with torch.device("meta"):  # sizes alone, no memory
        model = Tan2D(config, inputs)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


@pytest.mark.parametrize("clips", [6, 16, 64])
def test_a_pooled_span_holds_the_maximum_of_its_clips(clips: int) -> None:
    config = Tan2DConfig(hidden=3, map_clips=clips, segments=clips, convolutions=1, kernel=1)
    values = torch.randn(2, clips, 3, dtype=torch.float64)
    found = built(config)._spans(values)
    for row, (first, last) in enumerate(anchors(clips).tolist()):
        assert torch.equal(found[:, row], values[:, first : last + 1].amax(dim=1))


def test_a_convolved_span_sees_its_own_clips_alone() -> None:
    config = Tan2DConfig(
        hidden=3, map_clips=32, segments=32, convolutions=1, kernel=1, sparse="conv"
    )
    model, values = built(config), torch.randn(1, 32, 3, dtype=torch.float64, requires_grad=True)
    found = model._spans(values)
    for row, (first, last) in enumerate(anchors(32).tolist()[::7]):
        (slope,) = torch.autograd.grad(found[0, row * 7].sum(), values, retain_graph=True)
        seen = slope[0].abs().sum(dim=1).nonzero().flatten().tolist()
        assert seen == list(range(first, last + 1))


@given(
    clips=st.lists(st.integers(1, 40), min_size=1, max_size=3), segments=st.sampled_from([4, 16])
)
def test_resampling_averages_equal_stretches(clips: list[int], segments: int) -> None:
    longest = max(clips)
    features = torch.randn(len(clips), longest, 2, dtype=torch.float64)
    found = resample(features, torch.tensor(clips), segments)
    for row, n in enumerate(clips):
        rows = features[row, :n].numpy()
        bounds = [min(int(np.round(i / segments * n)), n - 1) for i in range(segments + 1)]
        expected = [rows[a:b].mean(axis=0) if a < b else rows[a] for a, b in pairwise(bounds)]
        np.testing.assert_allclose(found[row].numpy(), expected, atol=1e-12)
        if n > segments:  # the same rule as the clip grid's
            np.testing.assert_allclose(found[row].numpy(), pool(rows, segments), atol=1e-6)


Map = dict[tuple[int, int], torch.Tensor]


def convolved(model: Tan2D, values: Map) -> Map:
    """Return the cells after all convolutions of width 3, each sum over its valid neighbours."""
    size, reach = model.config.map_clips, model.config.convolutions
    window = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    for layer in model.convolutions.layers:
        reached: Map = {}
        for i in range(-reach, size + reach):
            for j in range(-reach, size + reach):
                near = [(a, b) for a, b in window if (i + a, j + b) in values]
                if near:
                    total = sum(
                        layer.weight[:, :, a + 1, b + 1] @ values[i + a, j + b] for a, b in near
                    )
                    reached[i, j] = F.relu(total + layer.bias) / len(near)
        values = reached
    return values


def test_map_convolutions_divide_by_the_valid_neighbours() -> None:
    model, spans = built(), anchors(4)
    cells = torch.randn(1, len(spans), 6, dtype=torch.float64)
    values = {tuple(cell): cells[0, row] for row, cell in enumerate(spans.tolist())}
    expected = convolved(model, values)
    found = model.convolutions(cells, spans)
    for row, cell in enumerate(spans.tolist()):
        torch.testing.assert_close(found[0, row], expected[tuple(cell)])


def test_the_forward_pass_is_its_steps() -> None:
    model, batch = built(), batch_of([7], [[0.0, 1.0]])
    rows = batch.features[0] / batch.features[0].norm(dim=1, keepdim=True)
    segments = [0, 1, 2, 3, 4, 4, 5, 6]  # round(i · 7 / 8), half to even; the last is clipped
    frames = F.relu(model.frames(rows[segments]))
    clips = (frames[0::2] + frames[1::2]) / 2
    words = torch.tensor(VECTORS[[0, 0]], dtype=torch.float64)
    sentence = model.text_linear(model.text(words[None])[1][0][-1, 0])
    values = {}
    for first, last in anchors(4).tolist():
        cell = model.cells(clips[first : last + 1].amax(dim=0)) * sentence
        values[first, last] = cell / cell.norm()
    cells = convolved(model, values)
    expected = [model.prediction(cells[i, j]) for i, j in anchors(4).tolist()]
    torch.testing.assert_close(model(batch).own["anchors"], torch.cat(expected)[None])


def test_the_loss_is_the_mean_cross_entropy_with_scaled_overlaps() -> None:
    config = SMALL.model_copy(update={"iou_min": 0.3, "iou_max": 0.7})
    model, batch = built(config), batch_of([8, 5], [[1.5, 6.0], [0.0, 2.2]])
    output = model(batch)
    expected = []
    for row, n in enumerate([8, 5]):
        edges = (anchors(4) + torch.tensor([0, 1])).numpy() * n / 4
        overlap = temporal_iou(edges, batch.moment[row].double().numpy())
        target = np.clip((overlap - 0.3) / 0.4, 0, 1)
        p = output.own["anchors"][row].sigmoid().detach().numpy()
        expected.append(-(target * np.log(p) + (1 - target) * np.log(1 - p)))
    assert model.span_loss(output, batch).item() == pytest.approx(np.mean(expected), rel=1e-6)
    assert model.auxiliary_loss(output, batch).item() == 0.0


def test_an_empty_moment_is_no_spans_target() -> None:
    model, batch = built(), batch_of([8], [[3.0, 3.0]])
    output = model(batch)
    zeros = torch.zeros_like(output.own["anchors"])
    expected = F.binary_cross_entropy_with_logits(output.own["anchors"], zeros)
    torch.testing.assert_close(model.span_loss(output, batch), expected)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_on_its_own_grid_the_marginals_are_sums_over_the_map(temperature: float) -> None:
    model = built(SMALL.model_copy(update={"temperature": temperature}))
    batch = batch_of([4], [[0.0, 1.0]])
    logits = torch.randn(1, 10, dtype=torch.float64)
    output = said(model, batch, logits)
    q = (logits[0] / temperature).softmax(dim=0)
    start, end, inside = torch.zeros(3, 4, dtype=torch.float64)
    for mass, (first, last) in zip(q, anchors(4).tolist(), strict=True):
        start[first] += mass
        end[last] += mass
        inside[first : last + 1] += mass
    torch.testing.assert_close(output.spans.start.exp()[0], start)
    torch.testing.assert_close(output.spans.end.exp()[0], end)
    torch.testing.assert_close(output.match[0], (inside / (1 - inside)).log())


@given(clips=st.lists(st.integers(1, 20), min_size=1, max_size=3), map_clips=st.integers(2, 9))
def test_spreading_keeps_totals_and_places(clips: list[int], map_clips: int) -> None:
    p = torch.rand(len(clips), map_clips, dtype=torch.float64).softmax(dim=1)
    found = spread(p.log(), torch.tensor(clips), max(clips)).exp()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(clips), dtype=torch.float64))
    for row, n in enumerate(clips):
        assert (found[row, :n] > 0).all()
        assert (found[row, n:] == 0).all()
        # The mass before each edge of the clips is that of the map, read as a density.
        before = np.interp(np.arange(n + 1) / n, np.arange(map_clips + 1) / map_clips,
                           np.concatenate([[0], p[row].cumsum(0)]))  # fmt: skip
        np.testing.assert_allclose(np.diff(before), found[row, :n].numpy(), atol=1e-12)


def test_a_clip_reads_the_map_clip_of_its_middle() -> None:
    values = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(3, -1)
    found = at_clips(values, torch.tensor([4, 2, 6]), 6)
    assert found.tolist() == [[0, 1, 2, 3, 3, 3], [1, 3, 3, 3, 3, 3], [0, 1, 1, 2, 3, 3]]


@given(
    seed=st.integers(0, 10**6),
    top=st.integers(1, 40),
    above=st.floats(0.05, 0.95),
    ties=st.booleans(),
)
def test_suppression_is_the_greedy_one(seed: int, top: int, above: float, ties: bool) -> None:
    logits = torch.randn(2, 36, generator=torch.Generator().manual_seed(seed))
    logits = logits.round() if ties else logits
    spans = (anchors(8) + torch.tensor([0, 1])).double()
    kept, repeats = suppress(logits, spans, above=above, top=top)
    expected = []
    for row in logits:
        chosen: list[int] = []
        for cell in row.argsort(descending=True, stable=True).tolist():
            others = temporal_iou(spans[cell].numpy(), spans[chosen].numpy())
            if len(chosen) < top and (others <= above).all():
                chosen.append(cell)
        expected.append(chosen)
    assert kept.shape[1] == max(len(chosen) for chosen in expected)
    for row, chosen in enumerate(expected):
        spare = kept.shape[1] - len(chosen)
        assert kept[row].tolist() == chosen + chosen[:1] * spare
        assert repeats[row].tolist() == [False] * len(chosen) + [True] * spare


def test_proposals_are_the_maps_best_spans_in_clips() -> None:
    model, batch = built(), batch_of([8, 6], [[0.0, 1.0], [0.0, 1.0]])
    cells = [tuple(cell) for cell in anchors(4).tolist()]
    logits = torch.full((2, 10), -5.0, dtype=torch.float64)
    logits[:, cells.index((1, 2))] = 3.0
    logits[:, cells.index((1, 3))] = 2.0  # IoU 2/3 with the best: dropped
    logits[:, cells.index((3, 3))] = 1.0
    found = model.proposals(said(model, batch, logits), batch, top=2)
    assert found.edges.tolist() == [[[2, 6], [6, 8]], [[1.5, 4.5], [4.5, 6]]]
    expected = torch.tensor([3.0, 1.0], dtype=torch.float64).sigmoid()
    torch.testing.assert_close(found.score, expected.expand(2, -1))


def test_a_pair_with_fewer_proposals_repeats_its_best_for_nothing() -> None:
    model = built(SMALL.model_copy(update={"nms": 0.01}))
    batch = batch_of([4, 4], [[0.0, 1.0], [0.0, 1.0]])
    cells = [tuple(cell) for cell in anchors(4).tolist()]
    logits = torch.full((2, 10), -5.0, dtype=torch.float64)
    logits[0, cells.index((1, 2))] = logits[1, cells.index((0, 3))] = 3.0
    found = model.proposals(said(model, batch, logits), batch, top=9)
    assert found.edges.tolist() == [[[1, 3], [0, 1], [3, 4]], [[0, 4]] * 3]
    assert (found.score[0] > 0).all()
    assert found.score[1, 1:].tolist() == [0.0, 0.0]


def test_equal_spans_come_in_the_maps_order_with_one_score() -> None:
    """Many values: a processor rounds a few sigmoids differently at different places."""
    model = built(SMALL.model_copy(update={"map_clips": 8, "nms": 0.99})).float()
    batch = batch_of([8], [[0.0, 1.0]]).to("cpu", torch.float32)
    expected = anchors(8) + torch.tensor([0, 1])
    output = model(batch)
    for value in torch.randn(200, generator=torch.Generator().manual_seed(0)):
        own = {"anchors": value.expand(1, 36)}
        found = model.proposals(replace(output, own=own), batch, top=36)
        assert torch.equal(found.edges[0].long(), expected)
        assert (found.score == found.score[:, :1]).all()


def test_unknown_words_are_zeros_and_vectors_are_frozen() -> None:
    model, batch = built(), batch_of([6, 6], [[0.0, 1.0], [0.0, 1.0]])
    batch.words[0, 1], batch.words[1, 1] = 1, 5  # unknown, and a word whose vector is 0
    logits = model(batch).own["anchors"]
    batch.features[1] = batch.features[0]
    again = model(batch).own["anchors"]
    assert torch.equal(again[0], logits[0])
    assert torch.equal(again[1], again[0])
    assert not any("vectors" in name for name in model.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"map_clips": 24}, "map_clips is 24; give at most 16, or 32, 64, 128"),
        ({"map_clips": 12}, "segments=256 is no multiple of map_clips=12"),
        ({"kernel": 4}, "kernel=4 is even"),
        ({"iou_min": 0.8, "iou_max": 0.7}, "iou_min=0.8 is not below iou_max=0.7"),
        ({"max_positions": 128}, "max_positions"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Tan2DConfig.model_validate(change)


def test_a_configuration_is_read_by_its_name() -> None:
    read = TypeAdapter(BackboneConfig).validate_python
    assert read({"name": "tan2d", "map_clips": 8}) == Tan2DConfig(map_clips=8)
    assert read({"hidden": 64}).name == "vslnet"
    with pytest.raises(ValidationError, match=r"'nope'.*'vslnet'.*'tan2d'"):
        read({"name": "nope"})


def test_it_is_no_student() -> None:
    with pytest.raises(ValidationError, match="tan2d has no span predictor to distil into"):
        StudentConfig(backbone=SMALL)
