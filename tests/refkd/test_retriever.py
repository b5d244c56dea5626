"""The retriever that a user holds: it says what the trained network says, and names mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refkd.data.dataset import Dataset
from refkd.data.grid import pool
from refkd.data.manifest import PartFacts
from refkd.data.words import MAX_WORDS
from refkd.errors import CheckpointError, DataError
from refkd.exported import export
from refkd.models import VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone
from refkd.retriever import Retriever
from refkd.training.validation import edges_to_seconds, predict_edges

CONFIG = VSLNetConfig(hidden=16, heads=2, char_dim=4)
FILES = ["weights.safetensors", "words.safetensors", "retriever.json"]


@pytest.fixture(scope="module")
def backbone(tiny_dataset: Dataset) -> Backbone:
    """Return a network whose answers differ: fresh weights hardly tell clips apart."""
    network = build_backbone(CONFIG, tiny_dataset.model_inputs(), seed=0)
    shake = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=shake))
    return network.eval()


@pytest.fixture
def folder(tiny_dataset: Dataset, backbone: Backbone, tmp_path: Path) -> Path:
    export(backbone, CONFIG, tiny_dataset, tmp_path / "retriever")
    return tmp_path / "retriever"


@pytest.fixture
def retriever(folder: Path) -> Retriever:
    return Retriever.load(folder)


def video(dataset: Dataset, pair: int) -> np.ndarray:
    """Return the clips of a pair's video, as a user would have them."""
    pairs = dataset.role("val_id")
    return pairs.batch([pair]).features[0, : int(pairs.clips[pair])].numpy()


def test_a_retriever_says_what_its_network_says(
    tiny_dataset: Dataset, backbone: Backbone, retriever: Retriever
) -> None:
    pairs = tiny_dataset.role("val_id")
    expected = edges_to_seconds(predict_edges(backbone, pairs), pairs)
    assert len(np.unique(expected, axis=0)) > 5
    for pair, query in enumerate(pairs.queries):
        [[span]] = retriever.retrieve(
            video(tiny_dataset, pair), query, duration=float(pairs.duration[pair])
        )
        assert (span.start, span.end) == pytest.approx(tuple(expected[pair]))
        assert 0 < span.score <= 1


def test_spans_come_best_first_without_doubles(
    tiny_dataset: Dataset, backbone: Backbone, retriever: Retriever
) -> None:
    features, query = video(tiny_dataset, 0), tiny_dataset.role("val_id").queries[0]
    n = len(features)
    [spans] = retriever.retrieve(features, query, duration=float(n), top=10_000)
    assert len(spans) == n * (n + 1) // 2  # all there are
    assert [s.score for s in spans] == sorted((s.score for s in spans), reverse=True)
    assert len({(s.start, s.end) for s in spans}) == len(spans)
    assert all(0 <= s.start < s.end <= n for s in spans)
    with torch.no_grad():
        logits = backbone(tiny_dataset.role("val_id").batch([0])).spans
    start, end = logits.start[0].softmax(0), logits.end[0].softmax(0)
    for span in spans[:20]:
        p = start[round(span.start)] * end[round(span.end) - 1]
        assert span.score == pytest.approx(p.item(), rel=1e-4)
    [few] = retriever.retrieve(features, query, duration=float(n), top=3)
    assert few == spans[:3]


def test_queries_are_answered_one_by_one_as_together(
    tiny_dataset: Dataset, retriever: Retriever
) -> None:
    features = video(tiny_dataset, 1)
    queries = ["the man opens the door", "a person throws", "Someone washes the cup, then sits."]
    together = retriever.retrieve(features, queries, duration=20.0, top=2)
    assert len(together) == 3
    for query, expected in zip(queries, together, strict=True):
        [alone] = retriever.retrieve(features, query, duration=20.0, top=2)
        for a, b in zip(alone, expected, strict=True):
            assert (a.start, a.end) == (b.start, b.end)
            assert a.score == pytest.approx(b.score, rel=1e-4)


def test_seconds_scale_with_the_duration(tiny_dataset: Dataset, retriever: Retriever) -> None:
    features = video(tiny_dataset, 1)
    [[short]] = retriever.retrieve(features, "a man opens the door", duration=10.0)
    [[long]] = retriever.retrieve(features, "a man opens the door", duration=30.0)
    assert (long.start, long.end) == pytest.approx((3 * short.start, 3 * short.end))
    assert long.score == short.score


def test_unknown_words_and_very_long_queries_have_an_answer(
    tiny_dataset: Dataset, retriever: Retriever
) -> None:
    features = video(tiny_dataset, 2)
    queries = ["zzyzx qwrtp", "日本語 ΑΒΓ", "?!", "x" * 500, "door " * (MAX_WORDS + 50)]
    for [span] in retriever.retrieve(features, queries, duration=9.0):
        assert 0 <= span.start < span.end <= 9.0
        assert np.isfinite(span.score)


def test_a_video_longer_than_the_grid_is_pooled(
    tiny_dataset: Dataset, retriever: Retriever
) -> None:
    shape = (100, tiny_dataset.feature_dim)
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    long = retriever.retrieve(rows, "a man opens the door", duration=50.0, top=4)
    pooled = pool(rows, tiny_dataset.max_clips)
    assert len(pooled) == tiny_dataset.max_clips
    assert long == retriever.retrieve(pooled, "a man opens the door", duration=50.0, top=4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": np.zeros((4, 3))}, r"shape \(4, 3\); this retriever needs \(clips, 16\)"),
        ({"features": np.zeros(16)}, r"shape \(16,\)"),
        ({"features": np.zeros((0, 16))}, "at least one clip"),
        ({"features": np.zeros((1, 4, 16))}, r"shape \(1, 4, 16\)"),
        ({"features": np.full((4, 16), np.nan)}, "not finite"),
        ({"features": np.full((4, 16), -np.inf)}, "not finite"),
        ({"queries": ""}, "query 0 is empty"),
        ({"queries": "  \n"}, "query 0 is empty"),
        ({"queries": ["a door", " "]}, "query 1 is empty"),
        ({"queries": []}, "query 0 is empty"),
        ({"duration": 0.0}, "the duration is 0.0"),
        ({"duration": -3.0}, "the duration is -3.0"),
        ({"duration": float("nan")}, "the duration is nan"),
        ({"duration": float("inf")}, "the duration is inf"),
        ({"top": 0}, "top is 0; ask for at least one span"),
        ({"top": -1}, "top is -1"),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:40],
)
def test_what_cannot_be_answered_is_named(
    changed: dict[str, Any], message: str, retriever: Retriever
) -> None:
    given = {"features": np.zeros((4, 16)), "queries": "a door", "duration": 5.0, **changed}
    features, queries = given.pop("features"), given.pop("queries")
    with pytest.raises(DataError, match=message):
        retriever.retrieve(features, queries, **given)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES[:2])
@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["changed", "gone"])
def test_a_changed_byte_is_refused(
    name: str, damage: Callable[[Path], None], folder: Path
) -> None:
    damage(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}.*(changed|missing)"):
        Retriever.load(folder)


def test_a_record_that_says_something_else_is_refused(folder: Path) -> None:
    """Whatever byte changes: it is refused, or it changed nothing that is said."""
    path = folder / "retriever.json"
    whole = path.read_bytes()
    said = json.loads(whole)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with suppress(ValueError):
            if json.loads(path.read_bytes()) == said:
                continue
        with pytest.raises(CheckpointError, match=r"retriever\.json"):
            Retriever.load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_record_is_refused(content: str, folder: Path) -> None:
    (folder / "retriever.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"retriever\.json: not a retriever's record"):
        Retriever.load(folder)


def test_a_folder_without_a_retriever_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"retriever\.json: no such file"):
        Retriever.load(tmp_path)


def test_an_exported_folder_stands_alone(
    tiny_dataset: Dataset, backbone: Backbone, folder: Path
) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    record = json.loads((folder / "retriever.json").read_text())
    assert record["sha256"].keys() == set(FILES)
    assert tiny_dataset.fingerprint in record["dataset"]
    loaded = Retriever.load(str(folder)).backbone.state_dict()
    assert all(torch.equal(loaded[name], v) for name, v in backbone.state_dict().items())


def test_a_retriever_joins_and_resamples_as_its_dataset_was(
    tiny_dataset: Dataset, backbone: Backbone, tmp_path: Path
) -> None:
    width = tiny_dataset.feature_dim
    parts = [
        {"name": "clip", "norm": "unit", "dim": width - 4},
        {"name": "slow", "norm": "none", "dim": 4},
    ]
    facts = [
        PartFacts.model_validate(
            {**part, "layout": "npy", "extractor": None, "rows_per_second": 1.0, "sha256": ""}
        )
        for part in parts
    ]
    manifest = tiny_dataset.manifest
    features = manifest.features.model_copy(update={"parts": facts})
    changed = manifest.model_copy(update={"features": features, "resample": "always"})
    dataset = Dataset(tiny_dataset.path, changed, tiny_dataset.words, {})
    export(backbone, CONFIG, dataset, tmp_path)
    retriever = Retriever.load(tmp_path)

    random = np.random.default_rng(0)
    rows = {"slow": random.normal(size=(10, 4)), "clip": random.normal(size=(5, width - 4))}
    joined = retriever.join(rows)
    unit = rows["clip"] / np.linalg.norm(rows["clip"], axis=1, keepdims=True)
    assert np.allclose(joined, np.hstack([np.repeat(unit, 2, axis=0), rows["slow"]]), atol=1e-6)
    spans = retriever.retrieve(joined, "a man opens the door", duration=10.0, top=3)
    stretched = pool(joined, retriever.max_clips, "always")
    assert spans == retriever.retrieve(stretched, "a man opens the door", duration=10.0, top=3)
    for wrong, said in (
        ({"clip": rows["clip"]}, "features of clip are given; this retriever needs clip and slow"),
        ({"": joined}, "features of one without a name are given"),
    ):
        with pytest.raises(DataError, match=said):
            retriever.join(wrong)


def test_the_only_source_may_have_any_name(retriever: Retriever) -> None:
    rows = np.zeros((3, retriever.feature_dim))
    assert retriever.join({"clip": rows}) is rows
    with pytest.raises(
        DataError, match="clip and slow are given; this retriever needs one source"
    ):
        retriever.join({"clip": rows, "slow": rows})
