"""How sure a choice is: what a bootstrap over pairs and seeds says against what is true."""

from __future__ import annotations

import numpy as np
import pytest

from refkd.evaluation.standing import Standing, harmonic, resampled, standing

PAIRS, SYSTEMS = 120, 8
VIDEOS = np.repeat(np.arange(PAIRS // 2), 2)
HARD = np.random.default_rng(7).normal(50.0, 25.0, PAIRS)
Values = dict[int, np.ndarray]


def drawn(true: list[float], *, seed: int, seeds: int = 1, spread: float = 0.0) -> list[Values]:
    """Return systems whose means are true ones plus noise of pairs and of seeds."""
    random = np.random.default_rng(seed)
    return [
        {
            s: HARD + mean + spread * random.normal() + random.normal(0, 12, PAIRS)
            for s in range(seeds)
        }
        for mean in true
    ]


def stands(systems: list[Values], *, costs: list[float] | None = None, seed: int = 0) -> Standing:
    means = resampled(systems, VIDEOS, seed=seed, resamples=400)
    best, numbers = int(means.plain.argmax()), range(len(systems))
    costs = costs or [1.0] * len(systems)
    return standing(means, numbers, costs=costs, best=best, seeds=len(systems[0]))


def test_what_is_better_on_every_pair_is_the_best_for_sure() -> None:
    found = stands([{0: HARD}, {0: HARD + 1.0}, {0: HARD - 1.0}], costs=[1.0, 9.0, 1.0])
    assert found.probability == {1: 1.0, 0: 0.0, 2: 0.0}
    assert (found.best, found.one_error) == (1, 1)
    assert abs(found.optimism) < 0.5


def test_systems_that_answer_alike_are_the_best_equally_often() -> None:
    found = stands([{0: HARD}, {0: HARD - 1.0}, {0: HARD}])
    assert found.probability == {0: 0.5, 2: 0.5, 1: 0.0}


def test_of_equals_the_winner_is_flattered_and_no_one_is_sure() -> None:
    said, real = [], []
    for seed in range(30):
        systems = drawn([0.0] * SYSTEMS, seed=seed)
        found = stands(systems, seed=seed)
        assert sum(found.probability.values()) == pytest.approx(1.0)
        said.append(found.optimism)
        real.append(float(np.mean(systems[found.best][0] - HARD)))
    assert 0.5 < np.mean(said) / np.mean(real) < 1.1


def test_the_probability_is_the_share_of_right_choices() -> None:
    right, said = [], []
    for seed in range(60):
        true = np.random.default_rng(1000 + seed).normal(0, 2.0, SYSTEMS).tolist()
        found = stands(drawn(true, seed=seed), seed=seed)
        right.append(found.best == int(np.argmax(true)))
        said.append(found.probability[found.best])
    assert abs(np.mean(right) - np.mean(said)) < 0.15


def test_seeds_that_disagree_make_it_less_sure() -> None:
    calm, wild = (
        stands(drawn([0.0, 4.0], seed=3, seeds=3, spread=spread)) for spread in (0.0, 12.0)
    )
    assert max(wild.probability.values()) < max(calm.probability.values())


def test_the_cheapest_of_those_that_are_nearly_the_best_is_named() -> None:
    noise = np.random.default_rng(1).normal(0, 12, PAIRS)
    noise -= noise.mean()
    systems = [{0: HARD + noise + 0.5}, {0: HARD - noise}, {0: HARD + noise - 9.0}]
    assert stands(systems, costs=[5.0, 1.0, 0.1]).one_error == 1
    assert stands(systems, costs=[1.0, 5.0, 0.1]).one_error == 0


def test_both_roles_draw_the_same_seeds_of_a_system() -> None:
    """Where the seeds are all that varies, the harmonic mean of equal roles is the role itself."""
    systems = [{seed: np.full(PAIRS, 10.0 * (seed + k)) for seed in range(1, 4)} for k in (0, 1)]
    a, b = (resampled(systems, videos, seed=5) for videos in (VIDEOS, VIDEOS // 2))
    assert np.allclose(harmonic(a, b).drawn, a.drawn)


def test_pairs_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs, videos of"):
        resampled([{0: np.zeros(3)}], VIDEOS, seed=0)
