"""Rungs lie at epochs, or where a trial has used so many seconds or so much money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from support.recorded_curves import EPOCHS, KILLS, TABLE, run, study_file

from tune.audit.replay import replay
from tune.config.settings import Pruning
from tune.config.space import Value
from tune.simulation.curves import Curve
from tune.simulation.simulator import Simulated, World, simulate_search
from tune.study.growth import continue_survivors
from tune.study.search_study import SearchStudy

PRICE = {"cpu_hour": 1800.0}
"""Half of one for a second."""


class Paced:
    """Epochs of which a point takes each as long as its first key says."""

    def nearest(self, values: Mapping[str, Value]) -> Curve:
        curve, share = TABLE.nearest(values), values["distill.lambda_id"]
        assert isinstance(share, float)
        pace = 1 + 9 * (math.log10(share) / 2 + 1)
        rows = [
            {**row, "cost/cpu_seconds": pace * epoch, "cost/wall_seconds": pace * epoch}
            for epoch, row in enumerate(curve.metrics, 1)
        ]
        return Curve(values=dict(values), metrics=rows)


def told(result: Simulated) -> list[Any]:
    return [(v.values, v.state, v.epoch, list(v.decisions)) for v in result.study.views()]


def paced(world: World | None = None, **pruning: Any) -> Simulated:
    file = study_file(pruning={"resource": "seconds", "first": 6.0, **pruning}, prices=PRICE)
    return simulate_search(file.search_spec(), Paced(), world)


@pytest.mark.parametrize("kind", ["promote", "stop"])
@pytest.mark.parametrize("sampler", ["curves", "random"])
def test_where_all_epochs_take_the_same_a_resource_is_as_good_as_epochs(
    kind: str, sampler: str
) -> None:
    settings = {"sampler": {"name": sampler}, "prices": PRICE}
    by_epochs = run(pruning={"type": kind}, **settings)
    for resource, first in (("seconds", 4.0), ("money", 2.0)):
        pruning = {"type": kind, "resource": resource, "first": first}
        other = run(pruning=pruning, budget={"trials": 30}, **settings)
        if kind == "promote":  # what is kept for the end is only known to the epoch there
            assert told(other)[:20] == told(by_epochs)[:20]
        else:
            assert told(other) == told(by_epochs)


@pytest.mark.parametrize("kind", ["promote", "stop"])
@pytest.mark.parametrize("world", [None, KILLS], ids=["calm", "killed"])
def test_a_trial_is_judged_at_the_first_epoch_that_uses_as_much(
    kind: str, world: World | None
) -> None:
    result = paced(world, type=kind)
    judged = 0
    for view in result.study.views():
        used = {epoch: row["cost/wall_seconds"] for epoch, row in view.curve.items()}
        passed = {
            epoch
            for epoch in used
            for rung in (6.0, 18.0, 54.0)
            if used.get(epoch - 1, 0.0) < rung <= used[epoch] and epoch < EPOCHS
        }
        assert set(view.decisions) == passed
        assert {e: d["used"] for e, d in view.decisions.items()} == {e: used[e] for e in passed}
        judged += len(passed)
    epochs = {min(v.decisions) for v in result.study.views() if v.decisions}
    assert judged > 30
    assert len(epochs) > 3, "else nothing would differ from rungs at epochs"
    again = replay(result.study.optuna)
    assert again.differences == []
    assert again.decisions >= judged


def test_an_epoch_that_uses_much_reaches_several_rungs_at_once() -> None:
    result = paced(first=0.5, reduction=2)
    views = result.study.views()
    assert all(1 in view.decisions for view in views), "each uses at least a second"
    complete = [view for view in views if view.state == "COMPLETE"]
    assert len(complete) >= 3
    for view in complete:
        used = view.curve[EPOCHS - 1]["cost/wall_seconds"]
        assert len(view.decisions) <= math.log2(used / 0.5) + 1
    several = [v for v in views if v.decisions[1]["used"] >= 2.0 and v.epoch > 1]
    assert several, "they passed three rungs with their first epoch, and were judged once"
    assert replay(result.study.optuna).differences == []


def test_what_another_trial_has_used_brings_no_trial_to_a_rung() -> None:
    pruning = {"resource": "seconds", "first": 4.0, "type": "stop"}
    few = study_file(budget={"trials": 2}, training={"epochs": 4}, pruning=pruning)
    before = simulate_search(few.search_spec(), TABLE)
    more = study_file(budget={"trials": 2}, pruning=pruning)
    study = SearchStudy(more.search_spec(), before.study.optuna._storage)
    study.begin_launch()
    (grown, *_) = continue_survivors(study)
    ask = study.ask()
    assert ask is not None
    assert (ask.continues, ask.inherited) == (grown, 4)
    curve = TABLE.nearest(ask.values)
    for epoch in range(5, EPOCHS):
        study.record(ask.number, epoch, curve.at(epoch))
    assert list(study.views()[ask.number].decisions) == [6], "12 seconds; 4 were used before"
    assert replay(study.optuna).differences == []


def test_trials_that_tell_no_cost_are_never_judged() -> None:
    study = SearchStudy(
        study_file(pruning={"resource": "seconds", "first": 1.0}).search_spec(), InMemoryStorage()
    )
    study.begin_launch()
    ask = study.ask()
    assert ask is not None
    for epoch in range(1, EPOCHS + 1):
        assert study.record(ask.number, epoch, {"val_id/miou": 1.0, "val_ood/miou": 1.0}) == "go"


def test_a_launch_of_an_earlier_version_keeps_its_rungs() -> None:
    held = Pruning().model_dump()
    for name in ("resource", "first", "one_in"):
        del held[name]
    assert Pruning.model_validate(held) == Pruning()
    assert Pruning.model_validate({"reduction": 5}).passing == 5
