"""A sampler that learns from curves: what it proposes fits any space, is repeated, and pays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recorded_curves import run

from tune.audit.replay import replay
from tune.config.search_spec import SearchSpec
from tune.config.space import Dimension, Value, Values, misfit
from tune.simulation.curves import Curve
from tune.simulation.simulator import Simulated, World, simulate_search
from tune.study.curve_model import CurveModel
from tune.study.curve_sampler import improvements
from tune.study.ranking import hypervolume
from tune.study.unit_cube import UnitCube

EPOCHS = 12
MIXED: dict[str, Any] = {
    "rate": {"float": [1e-4, 1.0], "log": True},
    "share": {"float": [0.0, 1.0], "step": 0.25},
    "layers": {"int": [1, 4]},
    "width": {"int": [8, 512], "log": True},
    "many": {"int": [0, 9_999], "step": 3},
    "kind": {"choice": ["a", "b", None, True]},
    "window": {"float": [0.1, 0.9], "when": {"kind": "a"}},
    "alone": {"choice": [7]},
}
PLAIN: dict[str, Any] = {
    "x": {"float": [0.0, 1.0]},
    "y": {"float": [0.0, 1.0]},
    "z": {"float": [0.0, 1.0]},
}


class Hill:
    """Two goals apart along x, reached only where y and z are right, each by a rising curve."""

    def nearest(self, values: Mapping[str, Value]) -> Curve:
        x, y, z = (float(values.get(name) or 0.0) for name in "xyz")
        off = 4 * ((y - 0.8) ** 2 + (z - 0.3) ** 2)
        ends = {"one": 1 - (x - 0.3) ** 2 - off, "two": 1 - (x - 0.7) ** 2 - off, "three": x}
        grown = [1 - math.exp(-epoch / 4) for epoch in range(1, EPOCHS + 1)]
        metrics = [
            {**{n: g * v for n, v in ends.items()}, "cost/wall_seconds": epoch}
            for epoch, g in enumerate(grown, 1)
        ]
        return Curve(values=values, metrics=metrics)


def search(world: World | None = None, **changes: Any) -> Simulated:
    content = {
        "name": "hill",
        "space": PLAIN,
        "objectives": ["one", "two"],
        "epochs": EPOCHS,
        "budget": {"trials": 30},
        "sampler": {"name": "curves", "startup_trials": 5},
        "pruning": {"type": "promote"},
        "workers": 3,
    }
    return simulate_search(SearchSpec.model_validate({**content, **changes}), Hill(), world)


def tried(result: Simulated) -> list[Values]:
    return [view.values for view in result.study.views()]


@pytest.mark.parametrize("objectives", [["one"], ["one", "two"], ["one", "two", "three"]], ids=len)
@pytest.mark.parametrize("pruning", [{"type": "promote"}, {"type": "stop"}, {"name": "none"}])
def test_a_killed_search_repeats_itself_in_replay(
    objectives: list[str], pruning: dict[str, str]
) -> None:
    world = World(crash=0.05, kills=(9.0, 21.0, 22.0, 60.0))
    killed = search(world, objectives=objectives, pruning=pruning)
    assert replay(killed.study.optuna).differences == []
    assert tried(search(objectives=objectives)) == tried(search(objectives=objectives))
    assert tried(search(objectives=objectives, seed=1)) != tried(search(objectives=objectives))


def test_with_one_worker_kills_change_no_proposal() -> None:
    killed = search(World(kills=(9.0, 21.0, 22.0, 60.0)), workers=1)
    assert tried(killed) == tried(search(workers=1))


@pytest.mark.parametrize("most", [6, 40])
def test_a_model_of_fewer_measurements_is_repeated_as_well(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.study.curve_sampler.MOST", most)
    result = search(pruning={"name": "none"})
    assert tried(result) == tried(search(pruning={"name": "none"}))
    assert replay(result.study.optuna).differences == []


def test_every_proposal_fits_a_space_of_all_kinds() -> None:
    mixed = search(space={**PLAIN, **MIXED}, budget={"trials": 40})
    for values in tried(mixed):
        space = mixed.spec.space
        assert misfit(space, values) is None
        assert ("window" in values) == (values["kind"] == "a")
        assert all(type(values[name]) is int for name in ("layers", "width", "many"))


def test_a_space_that_is_used_up_is_searched_on() -> None:
    space = {"x": {"choice": [0.2, 0.4]}, "y": {"int": [0, 1]}}
    again = {"name": "curves", "repeat": True}
    whole = search(space=space, budget={"trials": 20}, sampler=again)
    assert len(tried(whole)) == 20
    assert len({tuple(values.values()) for values in tried(whole)}) == 4


def test_its_front_is_ahead_of_that_of_random_points() -> None:
    def volume(name: str) -> float:
        runs = [search(sampler={"name": name}, seed=seed) for seed in range(8)]
        fronts = [np.maximum([p for _, p in one.points], 0.0).tolist() for one in runs]
        return float(np.mean([hypervolume(front) for front in fronts]))

    assert volume("curves") > 1.05 * volume("random")


def test_what_was_tried_is_not_tried_again_while_there_is_room() -> None:
    points = np.array([[float(v or 0.0) for v in values.values()] for values in tried(search())])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert distances[np.triu_indices(len(points), 1)].min() > 0.01


def test_trials_without_a_measured_objective_teach_nothing() -> None:
    assert len(tried(search(objectives=["one", "two"], epochs=1))) == 30


def test_trials_that_miss_a_constraint_are_avoided() -> None:
    def kept(name: str) -> float:
        bound = {"metric": "val_id/miou", "at_least": 38.0}
        settings = {"pruning": {"name": "none"}, "budget": {"trials": 40}}
        result = run(sampler={"name": name}, constraints=[bound], **settings)
        assert replay(result.study.optuna).differences == []
        return float(np.mean([view.feasible for view in result.study.views()[20:]]))

    assert kept("curves") > kept("random")


def test_gains_are_differences_of_hypervolume() -> None:
    draw = np.random.default_rng(0)
    front = np.array([[0.2, 0.9], [0.6, 0.6], [0.9, 0.1]])
    points = draw.random((20, 2))
    before = hypervolume(front.tolist())
    wanted = [hypervolume([*front.tolist(), point]) - before for point in points.tolist()]
    assert improvements(front, points, np.zeros(2)) == pytest.approx(wanted)


def test_the_model_goes_through_what_was_measured_and_doubts_what_was_not() -> None:
    draw = np.random.default_rng(0)
    inputs = draw.random((60, 3))
    values = np.column_stack([np.sin(3 * inputs[:, 0]), inputs[:, 1]])
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    model = CurveModel(inputs, values, np.random.default_rng(1))
    known = np.stack([model.draw(inputs[:5], np.random.default_rng(s)) for s in range(30)])
    assert known.mean(axis=0) == pytest.approx(values[:5], abs=0.2)
    far = np.stack([model.draw(inputs[:5] + 3, np.random.default_rng(s)) for s in range(30)])
    assert far.std(axis=0).mean() > 3 * known.std(axis=0).mean()


@st.composite
def points(draw: st.DrawFn) -> tuple[dict[str, Dimension], Values]:
    space = {name: Dimension.model_validate(one) for name, one in MIXED.items()}
    values: dict[str, Value] = {
        "rate": draw(st.floats(1e-4, 1.0)),
        "share": draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        "layers": draw(st.integers(1, 4)),
        "width": draw(st.integers(8, 512)),
        "many": 3 * draw(st.integers(0, 3333)),
        "kind": draw(st.sampled_from(["a", "b", None, True])),
        "window": draw(st.floats(0.1, 0.9)),
        "alone": 7,
    }
    return space, values


@given(points())
def test_a_point_comes_back_from_the_cube(case: tuple[dict[str, Dimension], Values]) -> None:
    space, values = case
    cube = UnitCube(space)
    point = cube.point(values)
    assert ((point >= 0) & (point <= 1)).all()
    back = cube.values(cube.snapped(point[None])[0])
    for name, value in values.items():
        assert back[name] == (pytest.approx(value) if isinstance(value, float) else value)


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_any_point_of_the_cube_has_values_of_the_space(at: list[float]) -> None:
    space = {name: Dimension.model_validate(one) for name, one in MIXED.items()}
    cube = UnitCube(space)
    snapped = cube.snapped(np.array([at]))
    assert misfit(space, cube.values(snapped[0])) is None
    assert misfit(space, cube.values(np.array(at))) is None
    assert cube.features(snapped).shape == (1, len(MIXED) - 2 + 4 + 1)
