from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refkd.evaluation.intervals import cluster_bootstrap, paired_bootstrap


def test_clusters_of_one_pair_give_the_usual_standard_error() -> None:
    values = np.random.default_rng(0).normal(50, 10, size=(400, 2))
    interval = cluster_bootstrap(values, np.arange(400), seed=1)
    assert interval.mean == pytest.approx(values.mean(axis=0))
    assert interval.standard_error == pytest.approx(values.std(axis=0) / 20, rel=0.06)
    assert interval.high - interval.low == pytest.approx(
        2 * 1.96 * values.std(axis=0) / 20, rel=0.1
    )


def test_an_interval_is_of_two_thousand_resamples_and_of_95_percent() -> None:
    values, videos = np.random.default_rng(0).uniform(size=(30, 1)), np.arange(30)
    usual = cluster_bootstrap(values, videos, seed=0)
    said = cluster_bootstrap(values, videos, seed=0, resamples=2000, level=0.95)
    assert (usual.low, usual.high, usual.standard_error) == (
        said.low,
        said.high,
        said.standard_error,
    )


def test_repeating_the_pairs_of_a_video_adds_no_certainty() -> None:
    values = np.random.default_rng(0).uniform(size=(30, 1))
    once = cluster_bootstrap(values, np.arange(30), seed=0)
    often = cluster_bootstrap(np.repeat(values, 5, axis=0), np.repeat(np.arange(30), 5), seed=0)
    assert often.standard_error == pytest.approx(once.standard_error)
    assert often.low == pytest.approx(once.low)


def test_large_clusters_weigh_by_their_pairs() -> None:
    values = np.array([[0.0]] * 9 + [[1.0]])
    interval = cluster_bootstrap(values, np.array(["a"] * 9 + ["b"]), seed=0)
    assert interval.mean[0] == pytest.approx(0.1)
    assert (interval.low[0], interval.high[0]) == (0.0, 1.0)


@given(
    arrays(np.float64, (8, 2), elements=st.floats(-100, 100)),
    st.permutations(range(8)),
    st.integers(0, 5),
)
def test_properties_of_intervals(values: np.ndarray, order: list[int], seed: int) -> None:
    videos = np.array(["c", "a", "a", "b", "c", "d", "d", "d"])
    interval = cluster_bootstrap(values, videos, seed=seed, resamples=200)
    assert (interval.low <= interval.high).all()
    assert (interval.low >= values.min(axis=0) - 1e-9).all()
    assert (interval.high <= values.max(axis=0) + 1e-9).all()
    shuffled = cluster_bootstrap(values[order], videos[order], seed=seed, resamples=200)
    assert shuffled.low == pytest.approx(interval.low, abs=1e-9)
    assert shuffled.standard_error == pytest.approx(interval.standard_error, abs=1e-9)
    moved = cluster_bootstrap(values + 7.0, videos, seed=seed, resamples=200)
    assert moved.low == pytest.approx(interval.low + 7.0, abs=1e-9)
    nothing = paired_bootstrap(values, values, videos, seed=seed, resamples=200)
    assert not np.concatenate([nothing.mean, nothing.low, nothing.high]).any()


def test_the_seed_decides() -> None:
    values, videos = np.random.default_rng(0).uniform(size=(20, 1)), np.arange(20)
    first, second = (cluster_bootstrap(values, videos, seed=0) for _ in range(2))
    assert first.low.tolist() == second.low.tolist()
    assert first.low.tolist() != cluster_bootstrap(values, videos, seed=1).low.tolist()


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for run in range(200):
        videos = np.repeat(np.arange(60), 3)
        values = rng.normal(size=(60, 1))[videos] + rng.normal(size=(180, 1))
        interval = cluster_bootstrap(values, videos, seed=run, resamples=400)
        covered += int(interval.low[0] <= 0.0 <= interval.high[0])
    assert 0.90 <= covered / 200 <= 0.985


def test_pairing_removes_what_both_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(50, 20, size=(300, 1))
    videos = np.arange(300)
    a, b = hard + 1.0 + rng.normal(0, 1, (300, 1)), hard
    paired = paired_bootstrap(a, b, videos, seed=0)
    assert paired.low[0] > 0.5
    assert paired.standard_error[0] < cluster_bootstrap(a, videos, seed=0).standard_error[0] / 5


@pytest.mark.parametrize(
    ("values", "videos", "match"),
    [
        (np.zeros((3, 1)), np.zeros(2), "values of shape"),
        (np.zeros(3), np.zeros(3), "values of shape"),
        (np.zeros((3, 1)), np.zeros(3), "give at least two"),
    ],
)
def test_what_cannot_be_resampled(values: np.ndarray, videos: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        cluster_bootstrap(values, videos, seed=0)


def test_pairs_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="score both on equal pairs"):
        paired_bootstrap(np.zeros((3, 1)), np.zeros((2, 1)), np.arange(3), seed=0)
