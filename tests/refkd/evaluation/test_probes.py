"""Each probe takes away what it says, nothing else, and finds the models that do not miss it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.metrics import LOGGED, score
from refkd.evaluation.predictions import (
    edges_to_seconds,
    evaluate_role,
    predict_edges,
    predict_proposals,
    recall_of_role,
)
from refkd.evaluation.probes import (
    Probes,
    by_place,
    probe,
    probe_role,
    query_blind,
    shuffled_clips,
    summary,
    video_blind,
)
from refkd.models import Tan2DConfig, VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone, BackboneOutput, SpanLogits
from refkd.models.layers import mask_logits


class Reader(Backbone):
    """Points at the clips whose features, or whose place, agree with what it reads."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.reads = reads
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(16, generator=draw))
        self.words = nn.Parameter(torch.randn(10_000, generator=draw))

    def forward(self, batch: Batch) -> BackboneOutput:
        places = torch.arange(batch.features.shape[1]).expand(len(batch), -1).float()
        logits = torch.cos(places)
        if "video" in self.reads:
            logits = logits + batch.features @ self.weight
        if "clips" in self.reads:  # the features, whatever their order
            logits = logits + torch.cos(places * batch.features.sum(dim=(1, 2))[:, None])
        if "query" in self.reads:
            said = (self.words[batch.words] * batch.word_mask).sum(dim=1, keepdim=True)
            logits = logits + torch.sin(said + places)
        spans = SpanLogits(
            start=mask_logits(logits, batch.clip_mask), end=mask_logits(-logits, batch.clip_mask)
        )
        return BackboneOutput(spans=spans, match=logits)

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        return output.match.new_zeros(())


@pytest.fixture(scope="module")
def pairs(tiny_dataset: Dataset) -> Pairs:
    return tiny_dataset.role("fit")


@pytest.mark.parametrize(
    ("reads", "unmoved"),
    [
        ("video", {"query_blind"}),
        ("query", {"video_blind", "shuffled_clips"}),
        ("clips", {"query_blind", "shuffled_clips"}),
        ("place", {"query_blind", "video_blind", "shuffled_clips"}),
        ("video query", set()),
    ],
)
def test_a_probe_moves_the_models_that_read_what_it_takes(
    pairs: Pairs, reads: str, unmoved: set[str]
) -> None:
    found = probe_role(Reader(reads), pairs, seed=0)
    probes = {"query_blind", "video_blind", "shuffled_clips"}
    for name in probes:
        same = getattr(found, name) == pytest.approx(found.own, abs=1e-3)
        assert same is (name in unmoved), name


def test_blind_queries_are_all_alike_and_nothing_else_changes(pairs: Pairs) -> None:
    batch = pairs.batch([3, 40, 7])
    blind = query_blind(batch)
    assert blind.words.tolist() == [[1]] * 3
    assert blind.characters.shape == (3, 1, 16)
    assert blind.characters[:, 0, 0].tolist() == [1, 1, 1]
    assert blind.characters.sum() == 3
    assert torch.equal(blind.features, batch.features)
    dark = video_blind(batch)
    assert not dark.features.any()
    assert torch.equal(dark.clips, batch.clips)
    assert torch.equal(dark.words, batch.words)


@given(rows=st.lists(st.integers(0, 79), min_size=1, max_size=5, unique=True))
def test_shuffling_keeps_each_videos_clips_and_its_length(pairs: Pairs, rows: list[int]) -> None:
    change = shuffled_clips(pairs, seed=5)
    batch = pairs.batch(rows)
    moved = change(batch)
    assert torch.equal(moved.clips, batch.clips)
    for row, pair in enumerate(rows):
        n = int(batch.clips[row])
        before, after = batch.features[row], moved.features[row]
        assert sorted(before[:n].tolist()) == sorted(after[:n].tolist())
        assert not after[n:].any()
        lone = change(pairs.batch([pair]))  # the same order, whoever is in the batch
        assert torch.equal(lone.features[0], after[:n])


def test_pairs_of_a_video_share_an_order_and_seeds_differ(pairs: Pairs) -> None:
    video = pairs.video_ids[0]
    rows = [row for row, name in enumerate(pairs.video_ids) if name == video]
    assert len(rows) == 2
    batch = pairs.batch(rows)
    first = shuffled_clips(pairs, seed=0)(batch).features
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first, batch.features)
    assert not torch.equal(first, shuffled_clips(pairs, seed=1)(batch).features)


@given(count=st.integers(1, 40), bins=st.integers(1, 6), seed=st.integers(0, 1000))
def test_places_share_the_pairs_out_and_their_mean_is_the_score(
    pairs_of, count: int, bins: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    moments = np.sort(draw.uniform(-1, 13, (count, 2)), axis=1)
    tiou = draw.uniform(0, 1, count)
    made = pairs_of(moments, 12.0)
    places = by_place(tiou, made, bins=bins)
    assert sum(place.pairs for place in places) == count
    cells = [(place.start, place.end) for place in places]
    assert len(set(cells)) == len(cells) <= bins * (bins + 1) // 2
    weights = [place.pairs / count for place in places]
    for name, value in summary(tiou).items():
        mean = sum(w * place.metrics[name] for w, place in zip(weights, places, strict=True))
        assert mean == pytest.approx(value)
    for place in places:
        inside = np.ones(count, dtype=bool)
        for column, (low, high) in enumerate((place.start, place.end)):
            share = np.clip(moments[:, column], 0, 12) / 12
            inside &= (share >= low) & ((share < high) | (high == 1.0))
        assert inside.sum() == place.pairs


def test_a_summary_is_what_scoring_says(pairs: Pairs) -> None:
    scores = score(pairs.duration[:, None] * [0.1, 0.6], pairs)
    found = summary(scores.tiou)
    assert found["miou"] == pytest.approx(scores.miou)
    assert {m: found[f"r1_iou{m}"] for m in LOGGED} == pytest.approx(
        {m: scores.r1[m] for m in LOGGED}
    )


@pytest.mark.parametrize(
    "config",
    [
        VSLNetConfig(hidden=16, heads=2, char_dim=4, predictor="transformer"),
        Tan2DConfig(hidden=16, map_clips=8, segments=16, convolutions=1, kernel=3),
    ],
    ids=lambda config: config.name,
)
def test_all_probes_of_a_network(
    tiny_dataset: Dataset, config: VSLNetConfig | Tan2DConfig, tmp_path: Path
) -> None:
    backbone = build_backbone(config, tiny_dataset.model_inputs(), seed=0).train()
    roles = tiny_dataset.role("val_id"), tiny_dataset.role("val_ood")
    found = probe(backbone, *roles, seed=3)
    assert found == probe(backbone, *roles, seed=3)
    path = tmp_path / "probes.json"
    path.write_text(found.model_dump_json(), encoding="utf-8")
    assert Probes.model_validate_json(path.read_text(encoding="utf-8")) == found
    own = [evaluate_role(backbone, role).miou for role in roles]
    assert [found.id.own["miou"], found.ood.own["miou"]] == pytest.approx(own)
    assert found.gap["miou"] == pytest.approx(own[0] - own[1])
    quarters = {(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)}
    assert {side for place in found.id.places for side in (place.start, place.end)} <= quarters
    assert all(parameter.grad is None for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["vslnet", "tan2d"])
def test_recall_at_n_reads_the_networks_own_list(tiny_dataset: Dataset, name: str) -> None:
    config = {
        "vslnet": VSLNetConfig(hidden=16, heads=2, char_dim=4),
        "tan2d": Tan2DConfig(hidden=16, map_clips=4, segments=8, convolutions=1, kernel=3),
    }[name]
    backbone = build_backbone(config, tiny_dataset.model_inputs(), seed=0)
    pairs = tiny_dataset.role("val_id")
    edges = predict_proposals(backbone, pairs, top=5)
    assert edges.shape == (len(pairs), 5, 2)
    assert (edges[:, 0] == predict_edges(backbone, pairs)).all()
    assert recall_of_role(backbone, pairs, top=1).r == evaluate_role(backbone, pairs).r1
    seconds = edges_to_seconds(edges, pairs)
    any_hit = np.max([score(seconds[:, k], pairs).tiou for k in range(5)], axis=0) >= 0.5
    assert recall_of_role(backbone, pairs, top=5).r[0.5] == pytest.approx(100 * any_hit.mean())


def test_a_pair_with_fewer_spans_than_asked_repeats_its_best(tiny_dataset: Dataset) -> None:
    config = Tan2DConfig(hidden=16, map_clips=4, segments=8, convolutions=1, kernel=3)
    backbone = build_backbone(config, tiny_dataset.model_inputs(), seed=0)
    edges = predict_proposals(backbone, tiny_dataset.role("val_id"), top=12)  # of 10 anchors
    assert (edges[:, 10:] == edges[:, :1]).all()
    assert (edges[..., 0] < edges[..., 1]).all()
