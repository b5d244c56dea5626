from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refkd.evaluation.metrics import (
    THRESHOLDS,
    harmonic_mean,
    ranking,
    recall_at,
    score,
    score_spans,
)
from refkd.evaluation.overlap import temporal_iou

seconds = st.integers(0, 120).map(lambda tenths: tenths / 10)
spans = st.integers(1, 12).flatmap(lambda n: arrays(np.float64, (2, n, 2), elements=seconds))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((2, 6), (2, 6), 1.0),
        ((2, 6), (4, 8), 2 / 6),
        ((2, 6), (3, 5), 2 / 4),
        ((2, 6), (6, 9), 0.0),
        ((2, 6), (8, 9), 0.0),
        ((5, 5), (5, 5), 0.0),
        ((5, 5), (0, 9), 0.0),
        ((6, 2), (2, 6), 0.0),
    ],
)
def test_temporal_iou(a: tuple[float, float], b: tuple[float, float], expected: float) -> None:
    assert temporal_iou(np.array(a, float), np.array(b, float)) == pytest.approx(expected)
    assert temporal_iou(np.array(b, float), np.array(a, float)) == pytest.approx(expected)


def test_scores_by_hand(pairs_of) -> None:
    pairs = pairs_of([[0, 4], [2, 6], [8, 14]], 10.0)
    scores = score(np.array([[0, 4], [4, 8], [8.0, 9.0]]), pairs)
    assert scores.tiou.tolist() == pytest.approx([1.0, 1 / 3, 0.5])  # the last moment ends at 10
    assert scores.miou == pytest.approx(100 * (1 + 1 / 3 + 0.5) / 3)
    assert scores.r1 == pytest.approx(
        {0.1: 100, 0.3: 100, 0.5: 200 / 3, 0.7: 100 / 3, 0.9: 100 / 3}
    )
    assert scores.dr1[0.5] == pytest.approx(100 * (1 + 0.9) / 3)
    assert scores.dr1[0.3] == pytest.approx(100 * (1 + 0.8 * 0.8 + 0.9) / 3)
    assert scores.named("val_id") == {
        "val_id/miou": scores.miou,
        "val_id/r1_iou0.3": scores.r1[0.3],
        "val_id/dr1_iou0.3": scores.dr1[0.3],
        "val_id/r1_iou0.5": scores.r1[0.5],
        "val_id/dr1_iou0.5": scores.dr1[0.5],
        "val_id/r1_iou0.7": scores.r1[0.7],
        "val_id/dr1_iou0.7": scores.dr1[0.7],
    }


def test_a_moment_after_the_video_counts_as_a_miss(pairs_of) -> None:
    scores = score(np.array([[0.0, 5.0], [9.0, 10.0]]), pairs_of([[0, 5], [11, 13]], 10.0))
    assert scores.tiou.tolist() == [1.0, 0.0]
    assert scores.miou == 50.0


@given(both=spans)
def test_properties_of_all_scores(pairs_of, both: np.ndarray) -> None:
    both = np.sort(both, axis=-1)
    pairs = pairs_of(both[1], 10.0)
    scores = score(both[0], pairs)
    assert scores.miou == pytest.approx(100 * np.mean(scores.tiou))
    recalls = [scores.r1[m] for m in THRESHOLDS]
    assert recalls == sorted(recalls, reverse=True)
    assert all(0 <= scores.dr1[m] <= scores.r1[m] + 1e-9 <= 100.1 for m in THRESHOLDS)
    backwards = score(both[0, ::-1], pairs_of(both[1, ::-1], 10.0))
    assert backwards.miou == pytest.approx(scores.miou)
    assert backwards.dr1 == pytest.approx(scores.dr1)
    own = score(both[1], pairs)
    clamped = np.clip(both[1], 0, 10)
    assert own.miou == pytest.approx(100 * np.mean(clamped[:, 0] < clamped[:, 1]))


@given(both=spans)
def test_recall_at_one_is_r1_and_grows_with_n(pairs_of, both: np.ndarray) -> None:
    both = np.sort(both, axis=-1)
    pairs = pairs_of(both[1], 12.0)
    listed = np.stack([both[0], both[0][::-1], both[1]], axis=1)
    scores = score(both[0], pairs)
    at = [recall_at(n, listed, pairs) for n in (1, 2, 3)]
    assert at[0].r == scores.r1
    assert at[0].dr == scores.dr1
    for m in THRESHOLDS:
        assert at[0].r[m] <= at[1].r[m] <= at[2].r[m]
        assert at[0].dr[m] <= at[1].dr[m] + 1e-9


def test_dr_discounts_by_the_first_hit_in_rank(pairs_of) -> None:
    listed = np.array([[[0.0, 1.0], [4.0, 6.0], [4.0, 8.0]]])
    recall = recall_at(3, listed, pairs_of([[4, 8]], 10.0))
    assert recall.r[0.5] == recall.r[0.9] == 100.0
    assert recall.dr[0.5] == pytest.approx(80.0)
    assert recall.dr[0.9] == pytest.approx(100.0)


def test_a_list_is_worth_the_rank_of_its_first_hit(pairs_of) -> None:
    """Of three pairs the first hits at once, the second at rank 4 and 6, the third never."""
    far, near, exact = [8.0, 9.0], [0.0, 3.0], [0.0, 4.0]
    lists = [
        [exact, far, far, far, far, exact],
        [far, far, far, near, far, exact],
        [far, far, far, far, far, far],
    ]
    found = ranking(np.array(lists), pairs_of([[0, 4]] * 3, 10.0))
    assert found.r5[0.5] == found.r5[0.7] == pytest.approx(200 / 3)
    assert found.r5[0.9] == pytest.approx(100 / 3)
    assert found.precision[0.75] == pytest.approx(100 * (1 + 1 / 4) / 3), "near has a tIoU of .75"
    assert found.precision[0.8] == pytest.approx(100 * (1 + 1 / 6) / 3)
    average = 100 * (6 * (1 + 1 / 4) + 4 * (1 + 1 / 6)) / 30
    assert found.named("val_ood") == {
        "val_ood/r5_iou0.3": found.r5[0.3],
        "val_ood/r5_iou0.5": found.r5[0.5],
        "val_ood/r5_iou0.7": found.r5[0.7],
        "val_ood/map_0.5": found.precision[0.5],
        "val_ood/map_0.75": found.precision[0.75],
        "val_ood/map_avg": pytest.approx(average),
        "val_ood/hit1": pytest.approx(100 / 3),
    }


def test_a_list_behind_the_tenth_span_counts_for_nothing(pairs_of) -> None:
    spans = np.array([[[8.0, 9.0]] * 10 + [[0.0, 4.0]]])
    assert ranking(spans, pairs_of([[0, 4]], 10.0)).precision[0.5] == 0.0


def test_predictions_that_are_not_finite_give_no_finite_score(pairs_of) -> None:
    scores = score(np.array([[np.nan, np.nan], [0, 1]]), pairs_of([[0, 1], [0, 1]], 2.0))
    assert math.isnan(scores.miou)
    assert scores.r1[0.5] == 50.0


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2,)])
def test_predictions_must_match_the_pairs(pairs_of, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"predictions of shape .* for 2 pairs"):
        score(np.zeros(shape), pairs_of([[0, 1], [0, 1]], 2.0))


@pytest.mark.parametrize(
    ("top", "shape"), [(1, (2, 2)), (3, (2, 2, 2)), (0, (2, 2, 2)), (1, (3, 2, 2))]
)
def test_recall_needs_enough_predictions(pairs_of, top: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"R@{top} of 2 pairs"):
        recall_at(top, np.zeros(shape), pairs_of([[0, 1], [0, 1]], 2.0))


def test_no_pairs_have_no_score(pairs_of) -> None:
    with pytest.raises(ValueError, match="no pairs to score"):
        score(np.zeros((0, 2)), pairs_of([], 1.0))
    with pytest.raises(ValueError, match="no pairs to score"):
        score_spans(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))


@pytest.mark.parametrize(("a", "b", "expected"), [(0, 0, 0), (50, 0, 0), (40, 40, 40)])
def test_harmonic_mean(a: float, b: float, expected: float) -> None:
    assert harmonic_mean(a, b) == expected


@given(st.floats(0.001, 100), st.floats(0.001, 100))
def test_harmonic_mean_lies_between_the_smaller_and_the_arithmetic(a: float, b: float) -> None:
    mean = harmonic_mean(a, b)
    assert mean == harmonic_mean(b, a)
    assert min(a, b) * (1 - 1e-9) <= mean <= (a + b) / 2 * (1 + 1e-9)


def test_harmonic_mean_of_nan_is_nan() -> None:
    assert math.isnan(harmonic_mean(math.nan, 50.0))
