"""What a key alone explains: its parts, the truth within its interval, and what is too little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tune.config.space import Dimension
from tune.study.chance import lowness, ranks, trend
from tune.study.effects import SMALLEST, share

NUMBERS = st.lists(st.integers(-5, 5), min_size=2, max_size=30)


@given(NUMBERS)
def test_ranks_are_those_of_scipy(scores: list[int]) -> None:
    assert ranks(scores).tolist() == stats.rankdata(scores).tolist()


@given(NUMBERS, st.randoms(use_true_random=False))
def test_a_trend_is_spearmans_correlation_by_its_spread(scores: list[int], random: Any) -> None:
    values = random.choices(range(-3, 4), k=len(scores))
    found = trend(values, scores)
    if len(set(values)) == 1 or len(set(scores)) == 1:
        assert found == 0
    else:
        known = float(stats.spearmanr(values, scores).statistic)
        assert found == pytest.approx(known * np.sqrt(len(scores) - 1))


@pytest.mark.parametrize(("above", "under"), [(3, 8), (9, 20), (30, 60), (200, 400)])
@pytest.mark.parametrize("chance", [0.01, 0.1, 0.5])
def test_a_ratio_is_as_low_as_the_f_distribution_says(
    above: int, under: int, chance: float
) -> None:
    ratio = float(stats.f.ppf(chance, above, under))
    assert stats.norm.sf(lowness(ratio, above, under)) == pytest.approx(chance, abs=0.01)


FLOAT, LOG = {"float": [0.0, 3.0]}, {"float": [1e-3, 1.0], "log": True}


@pytest.mark.parametrize(
    ("given_", "values", "parts"),
    [
        (FLOAT, [0.0, 0.99, 1.0, 2.0, 3.0, 3.1], [0, 0, 1, 2, 2, None]),
        (LOG, [1e-3, 9e-3, 1.1e-2, 0.11, 1.0, 2.0], [0, 0, 1, 2, 2, None]),
        ({"int": [0, 8]}, list(range(9)), [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ({"int": [1, 2]}, [1, 2, 3], [0, 1, None]),
        ({"int": [0, 9], "step": 4}, [0, 4, 8, 9], [0, 1, 2, None]),
        ({"int": [1, 64], "log": True}, [1, 3, 5, 15, 17, 64], [0, 0, 1, 1, 2, 2]),
        ({"float": [0.0, 0.5], "step": 0.25}, [0.0, 0.25, 0.5], [0, 1, 2]),
        ({"choice": ["a", 1, True, None]}, ["a", 1, True, None, "b"], [0, 1, 2, 3, None]),
        ({"float": [2.0, 2.0]}, [2.0], [0]),
    ],
)
def test_the_parts_of_a_range(
    given_: dict[str, Any], values: list[Any], parts: list[int | None]
) -> None:
    dimension = Dimension.model_validate(given_)
    assert [dimension.part(value, 3) for value in values] == parts
    assert dimension.parts(3) == len({part for part in parts if part is not None})


def searched(
    count: int, *, slope: float, seed: int, low: float = 0.0
) -> tuple[list[float], list[float]]:
    """Return values of `FLOAT`, and scores that rise with them over noise."""
    draw = np.random.default_rng(seed)
    values = draw.uniform(low, 3.0, count)
    return values.tolist(), (slope * values + draw.normal(size=count)).tolist()


@pytest.mark.parametrize(("slope", "count"), [(0.0, 30), (0.3, 60), (1.0, 30), (1.0, 120)])
def test_the_truth_lies_within_the_interval(slope: float, count: int) -> None:
    """19 times of 20 in the long run; of 60 searches, at least 53."""
    dimension = Dimension.model_validate(FLOAT)
    whole = share(dimension, *searched(60_000, slope=slope, seed=0))
    found = [share(dimension, *searched(count, slope=slope, seed=1 + s)) for s in range(60)]
    known = [one for one in found if one is not None]
    assert whole is not None
    assert len(known) > 50
    assert sum(one.low <= whole.value + 1e-3 and whole.value <= one.high for one in known) >= (
        0.88 * len(known)
    )
    assert np.mean([one.value for one in known]) == pytest.approx(whole.value, abs=0.03)


def test_it_asks_for_the_whole_range_however_often_the_sampler_went_to_one_part() -> None:
    """With nine of ten trials in one part, the correlation hardly shows what the others do."""
    values, scores = searched(60, slope=1.0, seed=3)
    crowd, told = searched(500, slope=1.0, seed=4, low=2.0)
    dimension = Dimension.model_validate(FLOAT)
    even = share(dimension, values, scores)
    crowded = share(dimension, values + crowd, scores + told)
    assert even is not None
    assert crowded is not None
    correlation = float(stats.spearmanr(values + crowd, scores + told).statistic)
    assert crowded.value > 0.7 * even.value > 2 * correlation**2


def test_a_part_with_few_trials_leaves_it_open() -> None:
    dimension = Dimension.model_validate({"choice": ["a", "b"]})
    scores = [float(n) for n in range(40)]
    enough = ["a"] * (40 - SMALLEST) + ["b"] * SMALLEST
    assert share(dimension, enough, scores) is not None
    assert share(dimension, ["a", *enough[:-1]], scores) is None
    assert share(Dimension.model_validate({"choice": ["a"]}), ["a"] * 40, scores) is None


def test_an_interval_is_the_same_each_time() -> None:
    dimension = Dimension.model_validate(FLOAT)
    values, scores = searched(40, slope=0.5, seed=0)
    assert share(dimension, values, scores) == share(dimension, values, scores)


def test_equal_scores_are_explained_by_nothing() -> None:
    found = share(Dimension.model_validate(FLOAT), searched(40, slope=0, seed=0)[0], [1.0] * 40)
    assert found is not None
    assert (found.value, found.low, found.high) == (0, 0, 0)
