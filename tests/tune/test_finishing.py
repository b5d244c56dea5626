"""A search that promotes ends with complete trials, whatever its budget."""

from __future__ import annotations

import pytest
from support.recorded_curves import EPOCHS, KILLS, run

from tune.audit.replay import replay
from tune.simulation.simulator import Simulated
from tune.study.view import TrialView

PROMOTE = {"type": "promote"}


def complete(result: Simulated) -> list[TrialView]:
    return [v for v in result.study.views() if v.state == "COMPLETE"]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("budget", "least"),
    [
        ({"trials": 3}, 3),
        ({"trials": 6}, 3),
        ({"trials": 12}, 3),
        ({"trials": 100, "epochs": 8 * EPOCHS}, 3),
        ({"trials": 100, "epochs": 4 * EPOCHS}, 2),
        ({"trials": 100, "epochs": 2 * EPOCHS}, 1),
        ({"trials": 8, "finish": 5}, 5),
        ({"trials": 2}, 2),
    ],
    ids=str,
)
def test_a_search_ends_with_enough_complete_trials(
    budget: dict[str, int], least: int, workers: int
) -> None:
    for world in ((), (KILLS,)):
        result = run(*world, pruning=PROMOTE, budget=budget, workers=workers)
        assert len(complete(result)) >= least
        assert result.study.left() == 0
        assert not any(v.paused_at for v in result.study.views())
        assert replay(result.study.optuna).differences == []


@pytest.mark.parametrize("seed", range(6))
def test_no_step_takes_what_is_kept_for_the_end(seed: int) -> None:
    budget = {"trials": 100, "epochs": 8 * EPOCHS}
    for one_in, startup in ((3, 4), (4, 4), (4, 6)):
        sampler = {"name": "curves", "startup_trials": startup}
        pruning = {**PROMOTE, "one_in": one_in}
        result = run(pruning=pruning, budget=budget, workers=1, seed=seed, sampler=sampler)
        assert len(complete(result)) >= 3


def test_the_best_are_finished_with_the_last_of_the_budget() -> None:
    limit = 8 * EPOCHS
    result = run(pruning=PROMOTE, budget={"trials": 100, "epochs": limit, "finish": 4}, workers=1)
    views = result.study.views()
    finished = [v for v in views if v.finishes]
    assert finished
    assert all(v.state == "COMPLETE" for v in finished)
    assert limit <= result.epochs < limit + EPOCHS, "no more than the trial that runs"
    assert len(views) > 8, "most of the budget is spent on other trials"


def test_none_is_finished_where_that_is_not_asked_for() -> None:
    asked = run(pruning=PROMOTE, budget={"trials": 12})
    free = run(pruning=PROMOTE, budget={"trials": 12, "finish": 0})
    assert any(v.finishes for v in asked.study.views())
    assert not any(v.finishes for v in free.study.views())
    assert free.epochs < asked.epochs
    stop = {"type": "stop"}
    stopping = run(pruning=stop, budget={"trials": 12, "finish": 12})
    assert stopping.epochs == run(pruning=stop, budget={"trials": 12}).epochs, "they have ended"
