"""The engine searches whatever reports metrics after each epoch, and knows nothing of RefKD."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from pydantic import ValidationError
from support.recorded_curves import EPOCHS, TABLE, study_file

from tune.config.search_spec import SearchSpec
from tune.config.space import Dimension
from tune.simulation.curves import Curve, CurveTable
from tune.simulation.simulator import Simulated, simulate_search
from tune.study.budget import stagnant
from tune.study.ranking import best_by_objective, best_first, front_of, hypervolume


def spec(**changes: Any) -> SearchSpec:
    content = {
        "name": "plain",
        "space": {"a": {"float": [0.01, 1.0], "log": True}, "b": {"float": [0.01, 1.0]}},
        "objectives": ["accuracy", "loss"],
        "minimize": ["loss"],
        "epochs": EPOCHS,
        "budget": {"trials": 24},
        "sampler": {"name": "random", "startup_trials": 4},
        "workers": 3,
    }
    return SearchSpec.model_validate({**content, **changes})


def table(sign: float) -> CurveTable:
    """The recorded curves under other names, the second objective with another sign."""
    curves = []
    for one in TABLE.curves:
        values = dict(zip("ab", one.values.values(), strict=True))
        metrics = [
            {"accuracy": row["val_id/miou"], "loss": sign * row["val_ood/miou"]}
            for row in one.metrics
        ]
        curves.append(Curve(values=values, metrics=metrics))
    return CurveTable(study="plain", objectives=["accuracy", "loss"], curves=curves)


def pair(**changes: Any) -> tuple[Simulated, Simulated]:
    """The search that maximises an objective, and the one that minimises what is negated."""
    maximised = simulate_search(spec(minimize=[], **changes), table(1.0))
    return maximised, simulate_search(spec(**changes), table(-1.0))


def test_the_front_of_what_is_minimised_is_that_of_what_is_negated() -> None:
    one, other = pair(pruning={"type": "promote"})
    first, second = one.study.views(), other.study.views()
    ended = [[v for v in views if v.state == "COMPLETE"] for views in (first, second)]
    assert front_of(ended[0]) == front_of(ended[1]) != []
    assert [v.number for v in best_first(first)] == [v.number for v in best_first(second)]
    assert stagnant(first) == stagnant(second)
    numbers, values = zip(*best_by_objective(["accuracy", "loss"], ended[1]).values(), strict=True)
    assert numbers == tuple(
        number for number, _ in best_by_objective(["accuracy", "loss"], ended[0]).values()
    )
    assert values[1] == min(v.objectives[1] for v in ended[1] if v.objectives)
    assert sorted(front_of(ended[1])) == sorted(t.number for t in other.study.optuna.best_trials)


def test_a_minimised_objective_has_a_hypervolume_above_its_worst() -> None:
    assert hypervolume([[2.0, -5.0], [3.0, -7.0]]) == pytest.approx(2.0 * 2.0)
    assert hypervolume([[2.0, 5.0]]) == 10.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minimize": ["speed"]}, "minimize: speed is no objective; the objectives are accuracy"),
        ({"minimize": ["loss", "loss"]}, "minimize: loss stands there twice"),
        ({"objectives": ["loss", "loss"]}, "names a metric twice"),
        ({"pruning": {"name": "median"}}, "knows one objective only"),
        ({"epochs": 0}, "greater than or equal to 1"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**changes)


def test_a_study_file_contains_a_spec_that_says_the_same_of_its_search() -> None:
    file = study_file(minimize=["val_ood/miou"], workers=5)
    held = file.search_spec()
    assert (held.epochs, held.workers, held.signs) == (EPOCHS, 5, [1.0, -1.0])
    assert held.fixed == file.fixed()
    assert held.source["dataset"] == "nowhere"
    again = SearchSpec.model_validate(held.model_dump(mode="json", by_alias=True))
    assert again == held.model_copy(update={"source": {}})


def test_costs_and_parameters_are_minimised_without_being_named() -> None:
    names = ["val_ood/r5_iou0.5", "model/parameters", "cost/epoch_seconds"]
    assert study_file(objectives=names).search_spec().signs == [1.0, -1.0, -1.0]
    assert study_file(objectives=names, minimize=names[:1]).search_spec().signs == [-1.0] * 3
    again = study_file(objectives=names)
    stored = again.model_dump(mode="json", by_alias=True)
    assert type(again).model_validate(stored) == again


def test_a_float_range_may_have_a_step() -> None:
    run = simulate_search(
        spec(space={"a": {"float": [0.1, 0.9], "step": 0.2}, "b": {"float": [0.01, 1.0]}}),
        table(-1.0),
    )
    drawn = {round(float(v.values["a"] or 0), 6) for v in run.study.views()}
    assert drawn <= set(np.round(np.arange(0.1, 0.95, 0.2), 6).tolist())
    assert len(drawn) > 2


@pytest.mark.parametrize(("low", "high", "step"), [(0.0, 0.3, 0.1), (0.1, 0.7, 0.1), (0, 5, 1)])
def test_every_value_of_a_stepped_range_lies_in_it(low: float, high: float, step: float) -> None:
    dimension = Dimension.model_validate({"float": [low, high], "step": step})
    stored = json.loads(json.dumps(dimension.model_dump(mode="json", by_alias=True)))
    assert Dimension.model_validate(stored) == dimension
    drawn = dimension.distribution()
    assert isinstance(drawn, FloatDistribution)
    assert (drawn.low, drawn.high, drawn.step) == (low, high, step)
    values = [min(high, low + n * step) for n in range(round((high - low) / step) + 1)]
    assert [dimension.misfit(value) for value in values] == [None] * len(values)
    assert dimension.misfit(low + step / 2) == (f"is none of {low:g}, {low + step:g}, …, {high:g}")


@pytest.mark.parametrize(
    "kind", [{"float": [1e-4, 1e-3], "log": True}, {"float": [0, 5]}, {"choice": [1, 2]}], ids=str
)
def test_a_launch_that_stored_a_step_with_every_range_is_read(kind: dict[str, Any]) -> None:
    stored = {"float": None, "int": None, "choice": None, "log": False, "when": {}, "step": 1}
    assert Dimension.model_validate({**stored, **kind}) == Dimension.model_validate(kind)
