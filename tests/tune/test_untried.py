"""No point is trained twice, and a space of a few points is searched to its end."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from support.recorded_curves import EPOCHS, KILLS, TABLE, study_file
from support.search_methods import SAMPLERS, mixed, sampled

from tune.audit.replay import replay
from tune.config.search_spec import SearchSpec
from tune.config.space import every_point
from tune.results.finalists import fresh_seeds
from tune.simulation.simulator import Simulated, simulate_search
from tune.study.growth import continue_survivors
from tune.study.launch import read_launches
from tune.study.request import TrialRequest
from tune.study.search_study import SearchStudy
from tune.study.untried import COUNTED
from tune.study.view import TrialView

FEW = {
    "kind": {"choice": ["a", "b", None]},
    "depth": {"int": [2, 6], "step": 2, "when": {"kind": ["a", "b"]}},
    "rate": {"float": [0.1, 0.3], "step": 0.1, "when": {"kind": "b"}},
}
POINTS = 3 + 9 + 1


class Nearest:
    """The curves of the table, whatever the space."""

    def nearest(self, values: dict[str, Any]) -> Any:
        place = sum(map(ord, json.dumps(values))) % len(TABLE.curves)
        return TABLE.curves[place]


def spec(**changes: Any) -> SearchSpec:
    content: dict[str, Any] = {
        "space": FEW,
        "objectives": ["val_id/miou", "val_ood/miou"],
        "minimize": [],
        "budget": {"trials": 40},
        "sampler": {"name": "random", "startup_trials": 4},
    }
    return mixed(**{**content, **changes})


def search(given: SearchSpec, *world: Any) -> Simulated:
    return simulate_search(given, Nearest(), *world)


def points(result: Simulated) -> list[str]:
    return [json.dumps(v.values, sort_keys=True) for v in result.study.views()]


def test_every_point_is_counted() -> None:
    found = [json.dumps(point) for point in every_point(spec().space, {}) or ()]
    assert len(found) == len(set(found)) == POINTS
    assert '{"kind": "b", "depth": 6, "rate": 0.3}' in found
    many = {"a": {"float": [0.0, 1e6], "step": 1e-6}, "b": {"choice": [0]}}
    assert spec(space=many).budget.trials == 40, "without a list of all of them"
    fixed = every_point({"a": spec().space["depth"]}, {"kind": "c"})
    assert list(fixed or ()) == [{}]
    assert every_point({"rate": mixed().space["rate"]}, {}) is None


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_of_a_few_points_is_searched_to_its_end(sampler: str) -> None:
    given = spec(sampler={**sampled(sampler)["sampler"], "startup_trials": 4})
    assert given.budget.trials == POINTS
    for world in ((), (KILLS,)):
        result = search(given, *world)
        assert len(points(result)) == len(set(points(result))) == POINTS
        assert result.study.stop_reason() is None
        assert result.study.left() == 0
        assert replay(result.study.optuna).differences == []


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize(
    "space",
    [{name: {"float": [0.01, 1.0]} for name in "abc"}, {"a": {"int": [1, 2 * COUNTED]}}],
    ids=["continuous", "many"],
)
def test_a_larger_space_gives_other_points(sampler: str, space: dict[str, Any]) -> None:
    whole = {"space": space, "pruning": {"name": "none"}}
    given = spec(**whole, sampler={"name": sampler, "population": 4})
    result = search(given)
    assert len(set(points(result))) == given.budget.trials == 40
    repeating = spec(**whole, sampler={"name": sampler, "population": 4, "repeat": True})
    same = points(search(repeating))
    assert sampler == "tpe" or len(set(same)) < 40, "else nothing would be tested"


def test_points_may_be_tried_again_where_that_is_wanted() -> None:
    result = search(spec(sampler={"name": "random", "repeat": True}))
    assert len(points(result)) == 40 > len(set(points(result)))


@pytest.mark.parametrize("world", [(), (KILLS,)], ids=["calm", "killed"])
def test_a_point_that_is_tried_again_may_have_further_seeds(world: Any) -> None:
    given = spec(sampler={"name": "random", "repeat": "further_seeds"})
    result = search(given, *world)
    had = Counter[str]()
    asked = sorted(result.study.views(), key=lambda view: view.stamps["asked"].place)
    for view, point in [(v, json.dumps(v.values, sort_keys=True)) for v in asked]:
        assert view.repeats == had[point]
        had[point] += 1
    assert max(had.values()) > 2
    assert replay(result.study.optuna).differences == []


def test_further_seeds_are_none_of_earlier_trials_or_of_finalists() -> None:
    file = study_file(replicates={"seeds": 2}, sampler={"repeat": "further_seeds"})
    ask = {"number": 0, "values": {}, "attempt": 1}
    seeds = [seed for repeats in range(3) for seed in file.seeds(repeats)]
    assert len(set(seeds)) == 6
    assert seeds[:2] == file.seeds()
    views = [TrialView(number=0, state="COMPLETE", attributes={"asked": {"repeats": 2}})]
    assert not set(fresh_seeds(file, 9, views)) & set(seeds)
    assert fresh_seeds(file, 9, views) == fresh_seeds(file, 9)
    assert TrialRequest.of(0, {}, 1, views[0].attributes) == TrialRequest(**ask, repeats=2)


def test_a_trial_that_goes_on_from_another_has_its_seeds() -> None:
    few = {"distill.lambda_id": {"choice": [0.1]}, "distill.lambda_ood": {"choice": [0.2]}}
    settings: dict[str, Any] = {
        "space": few,
        "budget": {"trials": 3},
        "sampler": {"name": "random", "repeat": "further_seeds"},
        "pruning": {"name": "none"},
    }
    before = simulate_search(study_file(**settings, training={"epochs": 4}).search_spec(), TABLE)
    assert [v.repeats for v in before.study.views()] == [0, 1, 2]
    grown = SearchStudy(study_file(**settings).search_spec(), before.study.optuna._storage)
    grown.begin_launch()
    continue_survivors(grown)
    asks = [grown.ask() for _ in range(3)]
    assert [(ask.continues, ask.repeats) for ask in asks if ask] == [(0, 0), (1, 1), (2, 2)]


def test_a_point_that_another_program_asks_for_is_tried_again() -> None:
    study = SearchStudy(spec(), InMemoryStorage())
    study.begin_launch()
    first = study.ask()
    assert first is not None
    study.optuna.enqueue_trial(first.values)
    study.enqueue(first.values)  # by refkd itself, it is not
    again, other = study.ask(), study.ask()
    assert again is not None
    assert other is not None
    assert again.values == first.values != other.values


def test_a_launch_of_an_earlier_version_is_replayed_as_it_was() -> None:
    study = search(spec(sampler={"name": "random", "repeat": True})).study.optuna
    held = study.user_attrs["launch:0001"]
    del held["search"]["sampler"]["repeat"]
    (launch,) = read_launches({"launch:0001": held})
    assert launch.spec.sampler.repeat
    assert launch.spec.budget.trials == 40
    assert launch.spec.epochs == EPOCHS
    assert isinstance(study, optuna.Study)
