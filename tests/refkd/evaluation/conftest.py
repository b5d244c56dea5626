"""Pairs to score: made from a few numbers, or read from the published splits."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from refkd.data.pairs import Pairs

PairsOf = Callable[..., Pairs]


def make_pairs(
    moments: Sequence[Sequence[float]],
    duration: Sequence[float] | float,
    *,
    clips: int = 10,
    spans: Sequence[Sequence[int]] | None = None,
    queries: Sequence[str] | None = None,
    videos: Sequence[str] | None = None,
) -> Pairs:
    count = len(moments)
    return Pairs(
        role="val_id",
        pair_ids=[f"v{i}#0" for i in range(count)],
        video_ids=list(videos) if videos is not None else [f"v{i}" for i in range(count)],
        queries=list(queries) if queries is not None else ["a person sits"] * count,
        moments=np.array(moments, dtype=np.float64).reshape(-1, 2),
        duration=np.broadcast_to(np.asarray(duration, dtype=np.float64), (count,)).copy(),
        clips=np.full(count, clips, dtype=np.int64),
        spans=np.array(spans if spans is not None else [[0, 0]] * count).reshape(-1, 2),
    )


@lru_cache
def read_split(path: Path) -> Pairs:
    videos, queries, moments, duration = [], [], [], []
    for video, row in json.loads(path.read_text(encoding="utf-8")).items():
        for query, moment in zip(row["sentences"], row["timestamps"], strict=True):
            videos.append(video)
            queries.append(query)
            moments.append(moment)
            duration.append(row["video_duration"] if "video_duration" in row else row["duration"])
    return make_pairs(moments, duration, queries=queries, videos=videos)


@pytest.fixture(scope="session")
def pairs_of() -> PairsOf:
    return make_pairs


@pytest.fixture
def charades(real_data: Path) -> Callable[[str], Pairs]:
    return lambda split: read_split(real_data / "charades_cd" / f"charades_{split}.json")


@pytest.fixture
def activitynet(real_data: Path) -> Callable[[str], Pairs]:
    return lambda split: read_split(real_data / "activitynet_cd" / f"anet_{split}.json")


@pytest.fixture
def published(real_data: Path, charades: Callable[[str], Pairs]) -> tuple[np.ndarray, np.ndarray]:
    """The predictions of Hao et al. and their float32 ground truth, in the split's order."""
    path = real_data / "golden" / "shuffling_charades_cd_prediction_results_test_ood.json.gz"
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        results = json.load(handle)["results"]
    pairs = charades("test_ood")
    remaining = {video: iter(found) for video, found in results.items()}
    ordered = [next(remaining[video]) for video in pairs.video_ids]
    assert len(ordered) == sum(len(found) for found in results.values())
    truth = np.array([row["gt_timestamp"] for row in ordered])
    assert np.abs(truth - pairs.moments).max() < 1e-5
    return np.array([row["timestamp"] for row in ordered], dtype=np.float64), truth
