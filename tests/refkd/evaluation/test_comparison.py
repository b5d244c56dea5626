"""One meaning of an interval: videos and seeds, paired where the seeds are the same."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from refkd.evaluation.comparison import (
    PER_PAIR,
    Figure,
    PairScores,
    difference_row,
    gap_row,
    mean_row,
    means,
    per_pair,
)
from refkd.evaluation.intervals import cluster_bootstrap, paired_bootstrap
from refkd.evaluation.metrics import score_spans

VIDEOS = np.array(["c", "a", "a", "b", "c", "d", "d", "d"])
M = ["m"]
SCORES = st.lists(st.floats(0.0, 100.0), min_size=len(VIDEOS), max_size=len(VIDEOS))
SYSTEMS = st.dictionaries(st.integers(0, 5), SCORES, min_size=1, max_size=4)


def system(scores: dict[int, list[float]]) -> PairScores:
    values = {seed: np.array(column)[:, None] for seed, column in scores.items()}
    return PairScores(values=values, videos=VIDEOS)


def half(figure: Figure) -> float:
    assert figure.low is not None
    assert figure.high is not None
    return (figure.high - figure.low) / 2


def ends(figure: Figure) -> list[float]:
    assert figure.low is not None
    assert figure.high is not None
    return [figure.low, figure.high]


def mean(one: PairScores) -> Figure:
    return mean_row(one, seed=0, metrics=M, resamples=100)["m"]


def difference(a: PairScores, b: PairScores) -> Figure:
    return difference_row(a, b, seed=0, metrics=M, resamples=100)["m"]


@given(SYSTEMS)
def test_a_score_lies_in_its_interval_and_both_where_scores_do(
    scores: dict[int, list[float]],
) -> None:
    figure = mean(system(scores))
    low, high = ends(figure)
    slack = 1e-9
    assert -slack <= low <= figure.value + slack
    assert figure.value - slack <= high <= 100 + slack
    assert figure.value == pytest.approx(np.mean(list(scores.values())), abs=1e-9)
    assert (figure.sd is None) == (len(scores) == 1)


@given(SCORES, SCORES)
def test_one_seed_leaves_the_resampled_videos_alone(own: list[float], other: list[float]) -> None:
    a, b = system({3: own}), system({3: other})
    drawn = cluster_bootstrap(a.values[3], VIDEOS, seed=0, resamples=100)
    figure = mean(a)
    assert figure.half_videos == pytest.approx(1.959964 * drawn.standard_error[0])
    assert figure.half_videos is not None
    within = (figure.value - figure.half_videos, figure.value + figure.half_videos)
    assert ends(figure) == pytest.approx(np.clip(within, 0, 100))
    paired = paired_bootstrap(a.values[3], b.values[3], VIDEOS, seed=0, resamples=100)
    assert half(difference(a, b)) == pytest.approx(1.959964 * paired.standard_error[0])
    elsewhere = system({4: other})
    assert difference(a, elsewhere) == difference(a, b), "two seeds held fixed"


@given(SYSTEMS, SYSTEMS)
def test_a_difference_the_other_way_round_is_its_negative(
    one: dict[int, list[float]], two: dict[int, list[float]]
) -> None:
    there = difference(system(one), system(two))
    back = difference(system(two), system(one))
    assert back.value == pytest.approx(-there.value, abs=1e-9)
    assert ends(back) == pytest.approx([-end for end in reversed(ends(there))], abs=1e-9)
    assert back.half_videos == pytest.approx(there.half_videos, abs=1e-9)
    assert (back.sd is None) == (there.sd is None)


@given(SYSTEMS)
def test_equal_systems_differ_by_nothing(scores: dict[int, list[float]]) -> None:
    figure = difference(system(scores), system(dict(reversed(scores.items()))))
    assert (figure.value, figure.half_videos) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert ends(figure) == pytest.approx([0.0, 0.0], abs=1e-9)


@given(SYSTEMS, SYSTEMS, st.floats(-20.0, 20.0))
def test_what_is_added_to_a_system_is_added_to_the_difference(
    one: dict[int, list[float]], two: dict[int, list[float]], more: float
) -> None:
    moved = {seed: [value + more for value in column] for seed, column in one.items()}
    before = difference(system(one), system(two))
    after = difference(system(moved), system(two))
    assert after.value == pytest.approx(before.value + more, abs=1e-6)
    assert half(after) == pytest.approx(half(before), abs=1e-6)


def spread_evenly(seeds: int) -> PairScores:
    """Return a system whose seeds' means have a standard deviation of 1."""
    offsets = np.linspace(-1.0, 1.0, seeds)
    offsets /= offsets.std(ddof=1)
    hard = np.linspace(30.0, 60.0, len(VIDEOS))
    return system({seed: list(hard + offset) for seed, offset in enumerate(offsets)})


def test_more_seeds_of_the_same_spread_narrow_the_interval_down_to_the_videos() -> None:
    found = [mean(spread_evenly(seeds)) for seeds in (2, 3, 5, 10, 100, 1000)]
    halves = [half(figure) for figure in found]
    assert halves == sorted(halves, reverse=True)
    assert len(set(halves)) == len(halves)
    assert [figure.sd for figure in found] == pytest.approx([1.0] * len(found))
    videos = found[0].half_videos
    assert [figure.half_videos for figure in found] == pytest.approx([videos] * len(found))
    assert halves[-1] == pytest.approx(videos, rel=1e-4)


FLAT = st.lists(st.floats(5.0, 15.0), min_size=2, max_size=6)


def flat(levels: list[float], first: int = 0) -> PairScores:
    """Return a system that scores the same on all pairs, so that videos add nothing."""
    return system({first + k: [level + 40.0] * len(VIDEOS) for k, level in enumerate(levels)})


@given(FLAT, FLAT)
def test_without_a_part_of_the_videos_it_is_students_and_welchs_interval(
    one: list[float], two: list[float]
) -> None:
    assume(np.std(one) > 0.01 and np.std(two) > 0.01)  # else scipy warns of lost precision
    alone = stats.ttest_1samp(np.array(one) + 40.0, 0.0).confidence_interval()
    wanted = np.clip([alone.low, alone.high], 0, 100)
    assert ends(mean(flat(one))) == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    welch = stats.ttest_ind(one, two, equal_var=False).confidence_interval()
    apart = difference(flat(one), flat(two, first=10))
    assert ends(apart) == pytest.approx([welch.low, welch.high], rel=1e-6, abs=1e-6)
    assert apart.sd is None


@given(st.lists(st.tuples(st.floats(5.0, 15.0), st.floats(5.0, 15.0)), min_size=2, max_size=6))
def test_the_same_seeds_are_paired(pairs: list[tuple[float, float]]) -> None:
    one, two = (list(column) for column in zip(*pairs, strict=True))
    gains = np.array(one) - np.array(two)
    figure = difference(flat(one), flat(two))
    assert figure.sd == pytest.approx(gains.std(ddof=1), abs=1e-9)
    if gains.std() > 0.01:
        paired = stats.ttest_rel(one, two).confidence_interval()
        assert ends(figure) == pytest.approx([paired.low, paired.high], rel=1e-6, abs=1e-6)


def test_seeds_are_paired_by_their_names_and_not_by_their_order() -> None:
    one = system({0: [10.0] * 8, 1: [20.0] * 8})
    two = system({1: [19.0] * 8, 0: [9.0] * 8})
    assert ends(difference(one, two)) == pytest.approx([1.0, 1.0])
    some = system({0: [9.0] * 8, 1: [19.0] * 8, 2: [14.0] * 8})
    assert difference(one, some).sd is None, "other seeds are not paired"


def test_a_system_of_one_seed_is_held_fixed() -> None:
    several, one = flat([6.0, 8.0, 13.0]), flat([9.0])
    alone = stats.ttest_1samp([6.0 - 9.0, 8.0 - 9.0, 13.0 - 9.0], 0.0).confidence_interval()
    assert ends(difference(several, one)) == pytest.approx([alone.low, alone.high])


def test_both_parts_add_up_as_independent() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(40.0, 10.0, size=(3, 60, 2)) + np.array([-2.0, 0.0, 2.0])[:, None, None]
    videos = np.repeat(np.arange(20), 3)
    found = mean_row(
        PairScores(values=dict(enumerate(values)), videos=videos), seed=0, metrics=["a", "b"]
    )
    error = cluster_bootstrap(values.mean(axis=0), videos, seed=0).standard_error
    for k, figure in enumerate(found.values()):
        over_seeds = values.mean(axis=1)[:, k]
        assert figure.half_videos == pytest.approx(stats.norm.ppf(0.975) * error[k], rel=1e-6)
        seeds = stats.t.ppf(0.975, 2) * over_seeds.std(ddof=1) / math.sqrt(3)
        assert half(figure) == pytest.approx(math.hypot(figure.half_videos, seeds), rel=1e-6)


def test_the_errors_of_two_roles_add_up_and_their_seeds_are_paired() -> None:
    draw = np.random.default_rng(0)
    columns = {role: draw.normal(50.0, 10.0, size=(2, 40, 1)) for role in ("id", "ood")}
    inside, outside = (
        PairScores(values=dict(enumerate(values)), videos=np.arange(40))
        for values in columns.values()
    )
    gap = gap_row(inside, outside, seed=0, metrics=M)["m"]
    errors = [mean_row(one, seed=0, metrics=M)["m"].half_videos for one in (inside, outside)]
    assert gap.half_videos == pytest.approx(math.hypot(*(e or 0.0 for e in errors)))
    by_seed = (columns["id"] - columns["ood"]).mean(axis=1)[:, 0]
    assert gap.value == pytest.approx(by_seed.mean())
    assert gap.sd == pytest.approx(by_seed.std(ddof=1))


SIMULATED = 400


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_the_interval_of_a_score_covers_the_truth_as_often_as_it_says(seeds: int) -> None:
    """A seed, a video and a pair each add normal noise to a true score of 50."""
    draw = np.random.default_rng(seeds)
    videos = np.repeat(np.arange(40), 3)
    covered = 0
    for run in range(SIMULATED):
        shared = 50.0 + 10.0 * draw.normal(size=40)[videos]
        noise = draw.normal(size=(seeds, 120))
        # With one seed there is no telling what another one would do: none is drawn.
        offsets = draw.normal(size=seeds) * (2.0 if seeds > 1 else 0.0)
        values = (shared + 5.0 * noise + offsets[:, None])[..., None]
        made = PairScores(values=dict(enumerate(values)), videos=videos)
        low, high = ends(mean_row(made, seed=run, metrics=M, resamples=200)["m"])
        covered += low <= 50.0 <= high
    assert 0.92 <= covered / SIMULATED <= 0.985


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says(paired: bool) -> None:
    """Both share how hard a video is, and much of what a seed does where seeds are paired."""
    draw = np.random.default_rng(7)
    videos = np.repeat(np.arange(40), 3)

    def drawn(hard: np.ndarray, by_seed: np.ndarray, first: int) -> PairScores:
        own = 5.0 * draw.normal(size=40)[videos] + 5.0 * draw.normal(size=(4, 120))
        values = hard + own + (by_seed + 1.5 * draw.normal(size=4))[:, None]
        columns = {first + k: column[:, None] for k, column in enumerate(values)}
        return PairScores(values=columns, videos=videos)

    covered = 0
    for run in range(SIMULATED):
        hard = 50.0 + 10.0 * draw.normal(size=40)[videos]
        by_seed = draw.normal(size=4) * (3.0 if paired else 0.0)
        sides = [drawn(hard, by_seed, first=0 if paired else 10 * side) for side in range(2)]
        row = difference_row(*sides, seed=run, metrics=M, resamples=200)
        low, high = ends(row["m"])
        covered += low <= 0.0 <= high
    assert 0.92 <= covered / SIMULATED <= 0.985


@given(
    st.lists(
        st.tuples(st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0, 0.9), st.floats(0.05, 1)),
        min_size=1,
        max_size=20,
    )
)
def test_what_pairs_add_is_what_the_scores_are_means_of(
    spans: list[tuple[float, float, float, float]],
) -> None:
    rows = np.array(spans)
    predicted = np.stack([rows[:, 0], rows[:, 0] + rows[:, 1]], axis=1)
    moments = np.stack([rows[:, 2], rows[:, 2] + rows[:, 3]], axis=1)
    scores = score_spans(predicted, moments, np.full(len(rows), 2.0))
    found = dict(zip(PER_PAIR, per_pair(scores).mean(axis=0), strict=True))
    assert found == pytest.approx(means(scores), abs=1e-9)


def test_systems_of_other_pairs_are_not_compared() -> None:
    here = system({0: [1.0] * 8})
    there = PairScores(values=here.values, videos=VIDEOS[::-1])
    with pytest.raises(ValueError, match="score both on equal pairs"):
        difference(here, there)
    short = PairScores(values={0: np.zeros((3, 1))}, videos=VIDEOS)
    with pytest.raises(ValueError, match="values of shape"):
        mean(short)


@pytest.mark.parametrize(
    ("figure", "above", "below"),
    [
        (Figure(value=1.0, low=0.1, high=2.0), True, False),
        (Figure(value=1.0, low=0.0, high=2.0), False, False),
        (Figure(value=-1.0, low=-2.0, high=0.0), False, False),
        (Figure(value=-1.0, low=-2.0, high=-0.1), False, True),
        (Figure(value=1.0), False, False),
    ],
)
def test_a_figure_says_on_which_side_of_zero_it_lies(
    figure: Figure, above: bool, below: bool
) -> None:
    assert (figure.is_above_zero, figure.is_below_zero) == (above, below)


def test_a_figure_that_was_stored_without_an_interval_is_its_value() -> None:
    assert Figure.model_validate({"value": 1.239, "sd": 2.0}).text() == "1.24"


def test_the_words_and_the_numbers_need_no_torch() -> None:
    code = "import sys, refkd.evaluation.comparison; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "refkd.evaluation.comparison" in loaded
    assert not {"torch", "scipy"} & set(loaded)
