"""Scores of queries with several windows: by hand, and against the published algorithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkd.data.pairs import Pairs, Windows
from refkd.evaluation.compat import CONVENTIONS
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.metrics import PRECISION, average_precision, ranking, recall_at, score
from refkd.evaluation.overlap import temporal_iou


def with_windows(pairs: Pairs, windows: list[list[list[float]]]) -> Pairs:
    """Return the pairs with these windows, the first of which they have already."""
    longest = max(map(len, windows))
    seconds = np.array([one + one[:1] * (longest - len(one)) for one in windows], dtype=float)
    step = (pairs.duration / pairs.clips)[:, None, None]
    return replace(
        pairs,
        moments=seconds[:, 0],
        windows=Windows(
            seconds=seconds,
            spans=np.floor(seconds / step).astype(np.int64) - [0, 1],
            counts=np.array([len(one) for one in windows]),
        ),
    )


def test_a_prediction_counts_by_the_window_that_it_matches_best(pairs_of) -> None:
    pairs = with_windows(pairs_of([[0, 2], [0, 4]], 10.0), [[[0, 2], [6, 10]], [[0, 4]]])
    scores = score(np.array([[6.0, 9.0], [0.0, 1.0]]), pairs)
    assert scores.tiou.tolist() == [0.75, 0.25]
    assert scores.discount[0] == pytest.approx(0.9)
    listed = np.array([[[3.0, 4.0], [0.0, 2.0]], [[8.0, 9.0], [9.0, 10.0]]])
    assert recall_at(2, listed, pairs).r[0.9] == 50.0
    assert recall_at(1, listed, pairs).r[0.1] == 0.0


@pytest.mark.parametrize("compat", [None, *CONVENTIONS])
def test_one_window_scores_as_a_moment_under_every_convention(pairs_of, compat) -> None:
    rng = np.random.default_rng(0)
    moments = np.sort(rng.uniform(0, 12, (40, 2)), axis=1)
    pairs = pairs_of(moments, 10.0, spans=[[0, 2]] * 40)
    twice = replace(
        pairs,
        windows=Windows(
            seconds=np.repeat(moments[:, None], 2, axis=1),
            spans=np.repeat(pairs.spans[:, None], 2, axis=1),
            counts=np.ones(40, dtype=np.int64),
        ),
    )
    predictions = np.sort(rng.uniform(0, 10, (40, 2)), axis=1)
    one, two = (score(predictions, each, compat=compat) for each in (pairs, twice))
    assert np.array_equal(one.tiou, two.tiou)
    assert np.array_equal(one.discount, two.discount)
    assert one.r1 == two.r1


def published_precision(spans, windows, threshold: float) -> float:
    """Average precision of one query, step by step as ActivityNet's evaluation takes it."""
    taken: set[int] = set()
    true = []
    for span in spans:
        overlaps = [float(temporal_iou(np.array(span), np.array(w))) for w in windows]
        found = False
        for k in sorted(range(len(windows)), key=lambda k: -overlaps[k]):
            if overlaps[k] < threshold:
                break
            if k not in taken:
                taken.add(k)
                found = True
                break
        true.append(found)
    precision = [sum(true[: k + 1]) / (k + 1) for k in range(len(true))]
    recall = [sum(true[: k + 1]) / len(windows) for k in range(len(true))]
    total, before = 0.0, 0.0
    for k in range(len(true)):
        total += (recall[k] - before) * max(precision[k:])
        before = recall[k]
    return total


spans = st.tuples(st.integers(0, 39), st.integers(1, 12)).map(lambda s: [s[0] / 4, sum(s) / 4])


@given(
    truth=st.lists(st.lists(spans, min_size=1, max_size=4), min_size=1, max_size=5),
    data=st.data(),
)
def test_average_precision_is_the_published_one(pairs_of, truth, data) -> None:
    lists = [data.draw(st.lists(spans, min_size=6, max_size=6)) for _ in truth]
    pairs = with_windows(pairs_of([w[0] for w in truth], 20.0), truth)
    found = ranking(np.array(lists), pairs)
    for threshold in PRECISION:
        expected = [
            published_precision(spans, w, threshold) for spans, w in zip(lists, truth, strict=True)
        ]
        assert found.precision[threshold] == pytest.approx(100 * np.mean(expected))


def test_each_window_is_found_once(pairs_of) -> None:
    tiou = np.array([[[0.9, 0.0], [0.8, 0.0], [0.0, 0.7]]])
    assert average_precision(tiou >= 0.5, tiou, np.array([2]))[0] == pytest.approx((1 + 2 / 3) / 2)
    repeated = np.array([[[0.9, 0.9]]])  # one window, padded by itself
    assert average_precision(repeated >= 0.5, repeated, np.array([1]))[0] == 1.0


def test_the_first_span_hits_where_its_middle_is_in_a_window(pairs_of) -> None:
    pairs = with_windows(
        pairs_of([[0, 2], [0, 2], [5, 5]], 10.0), [[[0, 2], [6, 8]], [[0, 2]], [[5, 5]]]
    )
    lists = np.zeros((3, 5, 2))
    lists[:, 0] = [[5.0, 9.0], [2.0, 3.0], [4.0, 6.0]]
    found = ranking(lists, pairs)
    assert found.hit1 == pytest.approx(100 / 3)
    assert found.named("val_id")["val_id/hit1"] == found.hit1


def test_floors_are_fitted_on_all_windows(pairs_of) -> None:
    windows = [[[0, 1 + k / 20], [5, 10]] for k in range(60)]
    fit = with_windows(pairs_of([[0, 1]] * 60, 10.0), windows)
    assert bias_floors(fit, pairs_of([[5, 10]] * 4, 10.0))["constant_miou"].miou == 100.0
