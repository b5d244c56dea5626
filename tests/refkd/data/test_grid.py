"""The clip grid: pooling, and time to index and back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkd.data.grid import clean, index_to_time, pool, time_to_index

clip_counts = st.integers(1, 40)
durations = st.floats(0.5, 800.0)


def brute_force(start: float, end: float, clips: int, duration: float) -> tuple[int, int]:
    """Search every span in row-major order, as the reference does, in float64."""
    start, end = min(max(start, 0.0), duration), min(max(end, 0.0), duration)
    best, value = (0, 0), 0.0
    for s in range(clips):
        for e in range(s, clips):
            left, right = s * (duration / clips), (e + 1) * (duration / clips)
            shared = min(right, end) - max(left, start)
            hull = max(right, end) - min(left, start)
            if end > start and shared / hull > value:
                best, value = (s, e), shared / hull
    return best


@st.composite
def moments(draw: st.DrawFn) -> tuple[float, float, int, float]:
    """Draw moments as annotators give them: a tenth of a second, or a share of the video."""
    clips, duration = draw(clip_counts), draw(durations)
    places = st.one_of(
        st.floats(-0.1, 1.2).map(lambda share: round(share * duration, 1)),
        st.integers(0, 2 * clips).map(lambda half: half * duration / (2 * clips)),
    )
    return draw(places), draw(places), clips, duration


@given(moments())
def test_the_label_is_what_a_search_over_all_spans_finds(
    moment: tuple[float, float, int, float],
) -> None:
    start, end, clips, duration = moment
    found = time_to_index([[start, end]], [clips], [duration])
    assert tuple(found[0]) == brute_force(start, end, clips, duration)


@given(st.data(), clip_counts, durations)
def test_index_to_time_and_back_is_the_identity(
    data: st.DataObject, clips: int, duration: float
) -> None:
    first = data.draw(st.integers(0, clips - 1))
    span = np.array([[first, data.draw(st.integers(first, clips - 1))]])
    seconds = index_to_time(span, np.array([clips]), np.array([duration]))
    assert np.array_equal(time_to_index(seconds, [clips], [duration]), span)


@pytest.mark.parametrize(
    ("moment", "clips", "duration", "span"),
    [
        ((5.0, 5.0), 10, 30.0, (0, 0)),  # empty
        ((9.0, 3.0), 10, 30.0, (0, 0)),  # reversed
        ((13.0, 38.0), 12, 12.3, (0, 0)),  # after the end
        ((2.3, 2.6), 10, 10.0, (2, 2)),  # inside one clip
        ((-4.0, 99.0), 10, 10.0, (0, 9)),  # clamped
        ((0.0, 10.0), 1, 10.0, (0, 0)),
        ((27.9, 30.3), 30, 30.0, (28, 29)),
    ],
)
def test_labels_of_special_moments(
    moment: tuple[float, float], clips: int, duration: float, span: tuple[int, int]
) -> None:
    assert tuple(time_to_index([moment], [clips], [duration])[0]) == span


def test_no_moments_have_no_labels() -> None:
    assert time_to_index(np.zeros((0, 2)), np.zeros(0), np.zeros(0)).shape == (0, 2)


def test_clean_clamps_and_keeps_the_order_of_the_ends() -> None:
    cleaned = clean(np.array([[-1.0, 40.0], [20.0, 3.0]]), np.array([30.0, 10.0]))
    assert cleaned.tolist() == [[0.0, 30.0], [10.0, 3.0]]


def reference_pool(features: np.ndarray, max_clips: int) -> np.ndarray:
    """Pool clip by clip, as `visual_feature_sampling` does."""
    if len(features) <= max_clips:
        return features
    bounds = np.round(np.arange(max_clips + 1) / max_clips * len(features)).astype(int)
    bounds[bounds > len(features) - 1] = len(features) - 1
    return np.stack(
        [
            features[begin:end].mean(axis=0) if begin < end else features[begin]
            for begin, end in pairwise(bounds)
        ]
    )


@given(st.integers(1, 300), st.integers(1, 130), st.integers(0, 9))
def test_pooling_equals_the_reference(rows: int, max_clips: int, seed: int) -> None:
    features = np.random.default_rng(seed).standard_normal((rows, 3))
    pooled = pool(features, max_clips)
    assert pooled.dtype == np.float32
    assert pooled.shape == (min(rows, max_clips), 3)
    np.testing.assert_allclose(pooled, reference_pool(features, max_clips), rtol=1e-5, atol=1e-6)
