from __future__ import annotations

import numpy as np
import pytest

from refkd.evaluation.companions import (
    CAP,
    effective_number,
    inverse_density_scores,
    inverse_density_weights,
)
from refkd.evaluation.metrics import score


def test_weights_of_charades_cd(charades) -> None:
    fit, target = charades("train"), charades("val")
    weights = inverse_density_weights(fit, target)
    assert effective_number(weights) == pytest.approx(354, abs=0.5)
    prior = score(target.duration[:, None] * [0.0, 0.3], target)
    named = inverse_density_scores(prior, weights, "val_id")
    assert prior.r1[0.5] == pytest.approx(32.7, abs=0.05)
    assert named["val_id/inverse_density_r1_iou0.5"] == pytest.approx(20.4, abs=0.055)


def test_rare_places_weigh_more_up_to_the_cap(pairs_of) -> None:
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 2, 500)
    fit = pairs_of(np.stack([starts, starts + rng.uniform(1, 2, 500)], axis=1), 10.0)
    target = pairs_of([[1.0, 2.5]] * 49 + [[9.0, 10.0]], 10.0)
    weights = inverse_density_weights(fit, target)
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1.0)
    assert weights[-1] == weights.max()
    assert weights[0] < 0.1
    even = inverse_density_weights(fit, pairs_of([[1.0, 2.5]] * 50, 10.0))
    assert even.tolist() == pytest.approx([1.0] * 50)


def test_a_weight_is_capped_at_ten_times_the_mean(pairs_of) -> None:
    rng = np.random.default_rng(0)
    fit = pairs_of(np.sort(rng.normal([3, 5], 0.5, (500, 2)), axis=1), 10.0)
    common, rare = [3.0, 5.0], [2.0, 6.0]
    two = inverse_density_weights(fit, pairs_of([common, rare], 10.0))
    ratio = two[1] / two[0]  # of two pairs the mean is at least half of either: no cap
    assert ratio > 20
    many = inverse_density_weights(fit, pairs_of([common] * 99 + [rare], 10.0))
    assert many[-1] / many[0] == pytest.approx(CAP * (99 + ratio) / 100)


def test_a_place_of_no_density_at_all_has_a_finite_weight(pairs_of) -> None:
    rng = np.random.default_rng(0)
    fit = pairs_of(np.sort(rng.normal([1, 2], 0.01, (500, 2)), axis=1), 10.0)
    weights = inverse_density_weights(fit, pairs_of([[1.0, 2.0], [9.0, 10.0]], 10.0))
    assert weights.tolist() == pytest.approx([0.0, 2.0])


def test_equal_weights_change_nothing(pairs_of) -> None:
    pairs = pairs_of([[0, 4], [2, 6]], 10.0)
    scores = score(np.array([[0.0, 4.0], [4.0, 8.0]]), pairs)
    named = inverse_density_scores(scores, np.ones(2), "val_id")
    assert named["val_id/inverse_density_miou"] == pytest.approx(scores.miou)
    for m in (0.3, 0.5, 0.7):
        assert named[f"val_id/inverse_density_r1_iou{m}"] == pytest.approx(scores.r1[m])
    lone = inverse_density_scores(scores, np.array([0.0, 2.0]), "val_id")
    assert lone["val_id/inverse_density_miou"] == pytest.approx(100 / 3)
