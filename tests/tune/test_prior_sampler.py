"""A prior draws proposals near its values: it helps much where it is right, else costs little."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.recorded_curves import KILLS
from support.search_methods import mixed

from tune.audit.replay import replay
from tune.config.search_spec import SearchSpec
from tune.config.settings import EarlierStudy, Sampler
from tune.config.space import Value, misfit
from tune.simulation.made_up import MadeUp
from tune.simulation.simulator import Simulated, World, simulate_search
from tune.study.growth import with_prior
from tune.study.locate import find_study
from tune.study.ranking import hypervolume
from tune.study.search_study import SearchStudy

PRIOR: dict[str, Value] = {"rate": 0.01, "units": 8, "net": "large", "depth": 3}


def search(world: World | None = None, **sampler: Any) -> Simulated:
    settings = {"name": "random", "startup_trials": 4, "prior": PRIOR, **sampler}
    spec = mixed(sampler=settings, budget={"trials": 40})
    return simulate_search(spec, MadeUp(spec, seconds=1.0, seed=0), world)


@pytest.mark.parametrize("sampler", ["curves", "random"])
def test_a_killed_search_with_a_prior_is_replayed(sampler: str) -> None:
    result = search(KILLS, name=sampler)
    assert all(misfit(result.spec.space, view.values) is None for view in result.study.views())
    assert replay(result.study.optuna).differences == []


def test_early_proposals_lie_near_the_prior_and_later_ones_less_often() -> None:
    close = [
        [abs(math.log10(float(v.values["rate"] or 0)) + 2) < 0.8 for v in one.study.views()]
        for one in (
            simulate_search(spec, MadeUp(spec, seconds=1.0, seed=0))
            for spec in (
                mixed(
                    sampler={"name": "random", "prior": PRIOR},
                    pruning={"name": "none"},
                    budget={"trials": 100},
                    seed=seed,
                )
                for seed in range(6)
            )
        )
    ]
    early, late = np.mean([one[:10] for one in close]), np.mean([one[-40:] for one in close])
    assert early > late + 0.1
    assert late == pytest.approx(0.4 + 0.06 * 0.6, abs=0.12), "1.6 of 4 decades, and few more"


def test_without_a_prior_nothing_changes() -> None:
    plain, empty = search(prior={}), mixed(sampler={"name": "random"}, budget={"trials": 40})
    other = simulate_search(empty, MadeUp(empty, seconds=1.0, seed=0))
    assert [v.values for v in plain.study.views()] == [v.values for v in other.study.views()]


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"name": "tpe", "prior": PRIOR}, "prior goes with name: curves or random, not tpe"),
        ({"prior": {"rat": 0.1}}, "sampler.prior: 'rat', which is not in the space; did you mean"),
        ({"prior": {"rate": 3.0}}, r"sampler.prior: rate=3.0, which is outside \[0.0001, 1.0\]"),
        ({"prior": {"units": 5}}, "sampler.prior: units=5, which is none of 4, 8, …, 16"),
    ],
)
def test_a_prior_that_the_space_does_not_hold_is_refused(
    sampler: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        mixed(sampler=sampler)


KEYS = ["a", "b", "c", "d"]
BEST = np.array([[0.35, 0.7, 0.6, 0.25], [0.45, 0.6, 0.7, 0.35]])


class Bowls:
    """Two objectives whose best points lie close to each other; 1 is the best."""

    def nearest(self, values: Mapping[str, Value]) -> Bowl:
        point = np.array([float(values[key] or 0.0) for key in KEYS])
        return Bowl(1 - np.square(point - BEST).sum(axis=1))


class Bowl:
    """A curve that comes to its ends evenly."""

    def __init__(self, ends: np.ndarray) -> None:
        self._ends = ends

    def at(self, epoch: int) -> dict[str, float]:
        return dict(zip("xy", (self._ends * epoch / 9).tolist(), strict=True))

    def seconds(self, epoch: int) -> float:
        return 1.0


def regret(prior: dict[str, Any], sampler: str, seed: int) -> float:
    spec = SearchSpec.model_validate(
        {
            "name": "bowls",
            "space": {key: {"float": [0.0, 1.0]} for key in KEYS},
            "objectives": ["x", "y"],
            "epochs": 9,
            "budget": {"trials": 180, "trainings": 20},
            "sampler": {"name": sampler, "prior": prior},
            "seed": seed,
        }
    )
    points = np.array([values for _, values in simulate_search(spec, Bowls()).ends])
    return 1 - hypervolume(np.maximum(points, 0.0).tolist())


def earlier(folder: Path, *, flipped: bool) -> dict[str, Any]:
    """Return a prior of a short search of whole trials, on other bowls where it is `flipped`."""
    spec = SearchSpec.model_validate(
        {
            "name": "earlier",
            "space": {key: {"float": [0.0, 1.0]} for key in KEYS},
            "objectives": ["x", "y"],
            "epochs": 9,
            "budget": {"trials": 24},
            "pruning": {"name": "none"},
            "seed": 100,
        }
    )
    url = f"sqlite:///{folder / f'{flipped}.db'}"
    study = SearchStudy(spec, url)
    study.begin_launch()
    while (ask := study.ask()) is not None:
        values = {k: 1.0 - float(v or 0) if flipped else v for k, v in ask.values.items()}
        metrics = Bowls().nearest(values).at(9)
        study.record(ask.number, 9, metrics)
        study.complete(ask.number, metrics)
    later = spec.model_copy(update={"sampler": Sampler.model_validate({"prior": {"from": url}})})
    prior = with_prior(later, find_study(url))[0].sampler.prior
    assert isinstance(prior, EarlierStudy)
    return prior.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize("sampler", ["curves", "random"])
def test_a_good_prior_helps_much_and_a_bad_one_costs_little(sampler: str) -> None:
    middle = BEST.mean(axis=0)
    good = dict(zip(KEYS, middle.tolist(), strict=True))
    bad = dict(zip(KEYS, (middle < 0.5).astype(float).tolist(), strict=True))
    found = {
        name: np.mean([math.log(regret(prior, sampler, seed)) for seed in range(12)])
        for name, prior in (("good", good), ("bad", bad), ("none", {}))
    }
    assert found["good"] < found["none"] + math.log(0.7)
    assert found["bad"] < found["none"] + math.log(1.5)


def test_the_best_of_an_earlier_study_help_and_those_of_another_problem_cost_little(
    tmp_path: Path,
) -> None:
    priors = {
        "near": earlier(tmp_path, flipped=False),
        "misleading": earlier(tmp_path, flipped=True),
        "none": {},
    }
    found = {
        name: np.mean([math.log(regret(prior, "random", seed)) for seed in range(8)])
        for name, prior in priors.items()
    }
    assert found["near"] < found["none"] + math.log(0.75)
    assert found["misleading"] < found["none"] + math.log(1.5)
