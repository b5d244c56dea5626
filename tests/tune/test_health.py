"""What is said to be wrong with a search: at the limits of each check, and of healthy searches."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from support.made_world import GOALS, SPACE, MadeWorld

from tune.config.search_spec import SearchSettings
from tune.config.space import Dimension
from tune.study.effects import FEW
from tune.study.health import Finding, between_epochs, between_seeds, end_of, health, standing
from tune.study.view import ENDED, EPOCH, RUNG, TrialView, key_of

METRICS = ("val_id/miou", "val_ood/miou")
LAST = 6


def asked(**settings: Any) -> SearchSettings:
    """Return a search that no check has anything against."""
    quiet = {"sampler": {"name": "random"}, "pruning": {"name": "none"}, "budget": {"trials": 30}}
    space = {"x": {"float": [0.5, 1.5]}}
    return SearchSettings.model_validate({"name": "asked", "space": space, **quiet, **settings})


def made(
    number: int,
    state: str = "COMPLETE",
    *,
    scores: tuple[float, float] = (30.0, 20.0),
    epoch: int = LAST,
    wave: float = 0.0,
    final: dict[str, float] | None = None,
    **values: Any,
) -> TrialView:
    """Return a trial whose metrics are `scores` at each epoch, `wave` above and below in turn."""
    attributes: dict[str, Any] = {
        key_of(EPOCH, e): {
            name: score + wave * (-1) ** e for name, score in zip(METRICS, scores, strict=True)
        }
        for e in range(1, epoch + 1)
    }
    if state == "PAUSED":
        state, attributes[key_of(RUNG, epoch)] = "RUNNING", {"action": "pause"}
    if final is not None:
        attributes[ENDED] = {"final": final}
    objectives = list(scores) if state == "COMPLETE" else None
    return TrialView(
        number=number, state=state, values=values, objectives=objectives, attributes=attributes
    )


def several(**states: int) -> list[TrialView]:
    kinds = [state for state, count in states.items() for _ in range(count)]
    return [made(number, kind) for number, kind in enumerate(kinds)]


def said(search: SearchSettings, trials: list[TrialView], *, over: bool = False) -> list[str]:
    return [str(finding) for finding in health(search, trials, over=over)]


STILL = "{} still draws at random, with {} of its first {} trials ended"
NEVER = "{} draws at random until {} trials have ended, but {}"


@pytest.mark.parametrize(
    ("name", "budget", "over", "states", "begins"),
    [
        ("tpe", 30, False, {}, None),
        ("tpe", 30, False, {"RUNNING": 1}, STILL.format("tpe", 0, 6)),
        ("tpe", 30, False, {"COMPLETE": 2, "PRUNED": 3}, STILL.format("tpe", 5, 6)),
        ("tpe", 30, False, {"COMPLETE": 2, "PRUNED": 4}, None),
        ("tpe", 30, False, {"COMPLETE": 2, "FAIL": 9}, STILL.format("tpe", 2, 6)),
        ("tpe", 30, True, {"COMPLETE": 5}, NEVER.format("tpe", 6, "the search ended with 5")),
        ("tpe", 30, True, {"COMPLETE": 6}, None),
        ("tpe", 6, False, {}, NEVER.format("tpe", 6, "budget.trials is 6")),
        ("tpe", 7, False, {}, None),
        ("gp", 30, False, {"COMPLETE": 5, "PRUNED": 4}, STILL.format("gp", 5, "6 complete")),
        ("gp", 30, False, {"COMPLETE": 6}, None),
        ("nsga2", 12, False, {}, NEVER.format("nsga2", "12 complete", "budget.trials is 12")),
        ("nsga3", 30, False, {"COMPLETE": 11}, STILL.format("nsga3", 11, "12 complete")),
        ("nsga2", 30, False, {"COMPLETE": 12}, None),
        ("qmc", 1, True, {}, None),
        ("random", 1, True, {}, None),
    ],
)
def test_a_sampler_in_its_start(
    name: str, budget: int, over: bool, states: dict[str, int], begins: str | None
) -> None:
    search = asked(sampler={"name": name}, budget={"trials": budget})
    found = said(search, several(**states), over=over)
    assert len(found) == (begins is not None)
    assert all(one.startswith(f"{begins}: ") for one in found)


SAVES, KILLS = (
    "pruning saves nothing, with 10 complete",
    "pruning has stopped {} of {} trials, and",
)


@pytest.mark.parametrize(
    ("states", "trials", "begins"),
    [
        ({"COMPLETE": 10}, 30, SAVES),
        ({"COMPLETE": 9}, 30, None),
        ({"COMPLETE": 10, "PRUNED": 1}, 30, None),
        ({"COMPLETE": 10, "PAUSED": 1}, 30, None),
        ({"COMPLETE": 10, "FAIL": 3, "RUNNING": 2}, 30, SAVES),
        ({"PRUNED": 10}, 20, KILLS.format(10, 10) + " none is complete"),
        ({"PRUNED": 9}, 18, None),
        ({"COMPLETE": 1, "PRUNED": 9}, 12, KILLS.format(9, 10) + " 1 is complete"),
        ({"COMPLETE": 2, "PRUNED": 40}, 42, None),
        ({"PRUNED": 14}, 30, None),
        ({"PRUNED": 15}, 30, KILLS.format(15, 15) + " none is complete"),
        ({"FAIL": 30}, 30, None),
        ({}, 30, None),
    ],
)
def test_pruning(states: dict[str, int], trials: int, begins: str | None) -> None:
    views = several(**states)
    budget = {"trials": trials}
    found = said(asked(pruning={"name": "pareto_halving"}, budget=budget), views)
    assert len(found) == (begins is not None)
    assert all(one.startswith(begins or "") for one in found)
    assert said(asked(budget=budget), views) == []


def test_a_race_may_ask_for_another_probability() -> None:
    race = {"name": "paired_racing", "probability": 0.2}
    for states, says in (
        ({"COMPLETE": 10}, "(3) or pruning.probability (0.2), or switch it off"),
        ({"PRUNED": 12}, "or the budget, or lower pruning.probability (0.2)."),
    ):
        (found,) = said(asked(pruning=race, budget={"trials": 12}), several(**states))
        assert says in found


def test_a_pruner_that_promotes_may_stop_instead() -> None:
    views = several(PRUNED=12)
    for kind, ends in (("promote", ", or use pruning.type: stop."), ("stop", "or the budget.")):
        (found,) = said(asked(pruning={"type": kind}, budget={"trials": 12}), views)
        assert found.endswith(ends)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("apart", "wave", "count", "speaks"),
    [
        (1.0, 0.0, 12, False),
        (1.0, 0.4, 12, False),
        (1.0, 0.9, 12, True),
        (1.0, 0.9, 4, False),
        (1.0, 1.8, 5, True),
        (0.0, 0.0, 12, False),
        (0.0, 0.1, 12, True),
        (-1.0, 0.9, 12, True),
    ],
)
def test_noise(apart: float, wave: float, count: int, speaks: bool, place: int) -> None:
    """A wave of ±w over the last four epochs has w√2 as standard deviation of its noise."""
    scores = [30 + apart * math.sqrt(2) * (n % 2 - 0.5) for n in range(count)]
    pairs = [(one, 9.0 * n) if place == 0 else (9.0 * n, one) for n, one in enumerate(scores)]
    found = health(asked(), [made(n, scores=pair, wave=wave) for n, pair in enumerate(pairs)])
    assert [(one.check, one.about) for one in found] == [("noise", METRICS[place])] * speaks
    if speaks:
        assert f"{METRICS[place]} varies by {wave * math.sqrt(2):.2g} from one" in str(found[0])


def test_noise_is_what_is_left_of_the_last_epochs_without_their_trend() -> None:
    draw = np.random.default_rng(0)

    def trial(number: int, epochs: int, noise: float) -> TrialView:
        curve = 2.5 * np.arange(epochs) + draw.normal(0, noise, epochs)
        rows = {key_of(EPOCH, e): {METRICS[0]: float(v)} for e, v in enumerate(curve, start=1)}
        return TrialView(number=number, state="COMPLETE", attributes=rows)

    for epochs in (4, 12, 30):
        found = between_epochs([trial(n, epochs, 0.7) for n in range(2000)], METRICS[0])
        assert found is not None
        assert math.sqrt(found[0]) == pytest.approx(0.7, rel=0.05)
        assert found[1] == 2000 * (max(4, epochs // 3) - 2)
    assert between_epochs([trial(0, 3, 0.7)], METRICS[0]) is None


def test_noise_of_a_mean_over_seeds_is_that_of_its_seeds() -> None:
    spreads = {f"sd/{METRICS[0]}": 2.0, f"sd/{METRICS[1]}": 2.0}
    trials = [made(n, scores=(30.0 + 0.1 * n, 9.0 * n), final=spreads) for n in range(12)]
    assert between_seeds(trials, METRICS[0], 4) == (1.0, 36)
    assert between_seeds(several(COMPLETE=3), METRICS[0], 4) is None
    (found,) = said(asked(replicates={"seeds": 4}), trials)
    assert found.startswith(f"{METRICS[0]} varies by 1 in the mean of 4 seeds")


@pytest.mark.parametrize(
    ("given", "value", "end"),
    [
        ({"float": [1.0, 2.0]}, 1.96, "upper"),
        ({"float": [1.0, 2.0]}, 1.94, None),
        ({"float": [1.0, 2.0]}, 1.04, "lower"),
        ({"float": [1.0, 2.0]}, 1.06, None),
        ({"float": [0.0, 2.0]}, 0.0, None),
        ({"float": [-1.0, 0.0]}, -1.0, "lower"),
        ({"float": [1e-4, 1.0], "log": True}, 1.5e-4, "lower"),
        ({"float": [1e-4, 1.0], "log": True}, 0.05, None),
        ({"float": [1e-4, 1.0], "log": True}, 0.65, "upper"),
        ({"int": [1, 9]}, 1, None),
        ({"int": [2, 9]}, 2, "lower"),
        ({"int": [1, 9]}, 9, "upper"),
        ({"int": [2, 9], "step": 3}, 8, "upper"),
        ({"int": [2, 3]}, 3, None),
        ({"float": [2.0, 2.0]}, 2.0, None),
        ({"float": [1.0, 2.0]}, 3.0, None),
        ({"float": [1.0, 2.0]}, None, None),
        ({"choice": [1, 2, 3]}, 3, None),
    ],
)
def test_the_ends_of_a_range(given: dict[str, Any], value: Any, end: str | None) -> None:
    assert end_of(Dimension.model_validate(given), value) == end


def climbing(count: int, *, up: bool = True, near: float = 1.0) -> list[TrialView]:
    """Return trials over the upper half of [0.5, 1.5] that get better, or worse, to its end."""
    places = [near + (1.49 - near) * n / (count - 1) for n in range(count)]
    gains = [30.0 + (n if up else -n) for n in range(count)]
    return [
        made(n, scores=(gain, 20.0 - gain), x=x)
        for n, (x, gain) in enumerate(zip(places, gains, strict=True))
    ]


def test_a_champion_at_an_end_that_trials_favour() -> None:
    search = asked(objectives=[METRICS[0]])
    (found,) = said(search, climbing(7))
    assert found == (
        "trial 6, the best by val_id/miou, has x=1.49 at the upper end of [0.5, 1.5], and trials "
        "get better towards it: raise that end of space.x and search on."
    )
    assert said(search, climbing(6)) == []  # as chance has it once in 100 times
    lonely = [*climbing(12, up=False), made(12, scores=(99.0, 0.0), x=1.49)]
    assert said(search, lonely) == []
    assert said(search, [made(n, scores=(v.values["x"], 0.0), x=1.5 - v.values["x"] / 2)
                         for n, v in enumerate(climbing(12))]) == []  # fmt: skip


def test_both_objectives_at_one_end_are_said_once() -> None:
    trials = [made(n, scores=(30.0 + n, 20.0 + n), x=v.values["x"])
              for n, v in enumerate(climbing(12))]  # fmt: skip
    assert [one.check for one in health(asked(), trials)] == ["range"]


def test_less_is_better_where_an_objective_is_minimised() -> None:
    search = asked(objectives=[METRICS[0]], minimize=[METRICS[0]])
    trials = [
        TrialView(number=v.number, state=v.state, values=v.values, objectives=v.objectives[:1],
                  signs=[-1.0], attributes=v.attributes)
        for v in climbing(12, up=False) if v.objectives
    ]  # fmt: skip
    assert [one.about for one in health(search, trials)] == ["x"]


def test_trials_stand_by_how_far_they_came_then_by_their_score() -> None:
    trials = [
        made(0, "PRUNED", scores=(50.0, 0.0), epoch=2),
        made(1, "PRUNED", scores=(10.0, 0.0), epoch=4),
        made(2, scores=(9.0, 0.0)),
        made(3, scores=(9.0, 5.0)),
        made(4, "PRUNED", scores=(60.0, 0.0), epoch=2),
    ]
    assert standing(asked(), trials, 0) == [0, 2, 3, 3, 1]
    assert standing(asked(minimize=[METRICS[0]]), trials, 0) == [1, 2, 3, 3, 0]


def without_effect(complete: int, pruned: int) -> list[TrialView]:
    """Return trials whose scores are spread alike over each part of the range."""
    kinds = ["COMPLETE"] * complete + ["PRUNED"] * pruned
    return [
        made(n, kind, scores=(30.0 + 0.01 * n, 20.0 - 0.01 * n), x=0.6 + 0.4 * (n % 3))
        for n, kind in enumerate(kinds)
    ]


def test_a_key_without_effect_is_named_from_30_complete_trials_on() -> None:
    (found,) = said(asked(), without_effect(FEW, 90))
    assert found.startswith("x on its own explains at most ")
    assert "% of the differences between 120 trials in any objective: take it out" in found
    assert said(asked(), without_effect(FEW - 1, 91)) == []
    assert said(asked(), without_effect(FEW, 0)) == []  # its interval is too wide


def test_a_key_that_few_trials_use_is_left_open() -> None:
    trials = without_effect(FEW, 90)
    for trial in trials[:10]:
        trial.values.pop("x")
    assert said(asked(), trials) == []


def test_a_trial_of_another_program_counts_nowhere() -> None:
    assert said(asked(pruning={"name": "pareto_halving"}), several(FOREIGN=40)) == []


def rates(
    number: int, *, goals: Any = GOALS, noise: float = 0.5, **settings: Any
) -> Counter[tuple[str, str]]:
    """Return in how many simulated searches each thing was found."""
    found = Counter[tuple[str, str]]()
    for seed in range(number):
        world = MadeWorld(seed=seed, goals=goals, noise=noise)
        spec, trials = world.search(**settings)
        found.update({(one.check, one.about) for one in health(spec, trials, over=True)})
    return found


@pytest.mark.parametrize("trials", [16, 40])
@pytest.mark.parametrize(("sampler", "pruning"), [("curves", "pareto_halving"), ("tpe", "none")])
def test_healthy_searches_are_left_in_peace(trials: int, sampler: str, pruning: str) -> None:
    asks = {"sampler": {"name": sampler}, "pruning": {"name": pruning}}
    found = rates(12, budget={"trials": trials}, **asks)
    assert found.total() <= 1, found


PLENTY = {"budget": {"trials": 60}}


@pytest.mark.parametrize(
    ("finding", "world", "settings"),
    [
        (("range", "rate"), {"goals": {**GOALS, "rate": (1.3, 1.3)}}, PLENTY),
        (("noise", METRICS[1]), {"noise": 12.0}, {**PLENTY, "pruning": {"name": "none"}}),
        (
            ("parameter", "weight"),
            {"goals": {k: v for k, v in GOALS.items() if k != "weight"}},
            {"budget": {"trials": 160}, "pruning": {"name": "none"}, "sampler": {"name": "qmc"}},
        ),
        (
            ("pruning", "pareto_halving"),
            {},
            {**PLENTY, "pruning": {"type": "stop", "min_epochs": 12}},
        ),
        (
            ("pruning", "pareto_halving"),
            {},
            {
                "budget": {"trials": 12, "finish": 0},
                "pruning": {"type": "promote", "min_epochs": 1, "reduction": 6, "one_in": 6},
            },
        ),
        (("sampler", "curves"), {}, {"budget": {"trials": 5}}),
    ],
)
def test_what_is_planted_is_found(
    finding: tuple[str, str], world: dict[str, Any], settings: dict[str, Any]
) -> None:
    found = rates(4, **world, **settings)
    assert found[finding] >= 3


def test_a_finding_is_one_sentence() -> None:
    world = MadeWorld(goals={**GOALS, "rate": (1.3, 1.3)})
    spec, trials = world.search(**PLENTY)
    found = health(spec, trials)
    assert found
    for one in found:
        assert str(one) == f"{one.what}: {one.remedy}."
        assert not one.what.endswith(".")
    assert Finding.model_validate(found[0].model_dump()) == found[0]
    assert set(SPACE) >= {one.about for one in found if one.check in ("range", "parameter")}
