"""Who becomes a finalist, on which seeds, and who wins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ended_study import scored

from tune.config.metrics import BALANCED
from tune.config.study_file import StudyFile
from tune.results.champions import ALIASES, winners
from tune.results.finalists import choose, fresh_seeds
from tune.study.view import TrialView

OBJECTIVES = ["val_id/miou", "val_ood/miou"]
percent = st.floats(1.0, 100.0)


def trial(
    number: int,
    final: dict[str, float],
    *,
    state: str = "COMPLETE",
    violations: dict[str, float] | None = None,
    **known: Any,
) -> Any:
    return TrialView(
        number=number,
        state=state,
        attributes={"ended": {"final": final, "violations": violations or {}}, **known},
    )


def numbers(views: list[TrialView], *, top: int = 1, objectives: Any = None) -> list[int]:
    return [view.number for view in choose(views, objectives or OBJECTIVES, top=top)]


def study_file(**changes: Any) -> StudyFile:
    return StudyFile.model_validate(
        {
            "name": "ended",
            "dataset": "nowhere",
            "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
            **changes,
        }
    )


def test_each_objective_and_the_harmonic_mean_send_their_best() -> None:
    views = [
        trial(0, scored(50, 10)),
        trial(1, scored(10, 50)),
        trial(2, scored(30, 30)),
        trial(3, scored(29, 29)),
    ]
    assert numbers(views) == [0, 1, 2]
    assert numbers(views, top=2) == [0, 1, 2, 3]
    assert numbers(views, objectives=["val_id/miou"]) == [0, 2]
    assert numbers(views, top=9) == [0, 1, 2, 3]


def test_one_trial_that_is_best_in_all_is_one_finalist() -> None:
    assert numbers([trial(0, scored(50, 50)), trial(1, scored(40, 40))]) == [0]


@pytest.mark.parametrize(
    ("costs", "chosen"), [((9.0, 3.0), 1), ((3.0, 9.0), 0), ((3.0, 3.0), 0)], ids=str
)
def test_ties_go_to_the_cheaper_then_to_the_lower_number(
    costs: tuple[float, float], chosen: int
) -> None:
    finals = [scored(40, 40, cpu=cost) for cost in costs]
    assert numbers([trial(n, final) for n, final in enumerate(finals)]) == [chosen]
    assert set(winners(dict(enumerate(finals))).values()) == {chosen}


def test_only_complete_and_feasible_trials_that_nobody_continues_count() -> None:
    views = [
        trial(0, scored(90, 90), state="PRUNED"),
        trial(1, scored(80, 80), violations={"val_id/miou>=85.00": 5.0}),
        trial(2, scored(70, 70)),
        trial(3, scored(60, 60), continues=2, violations={"val_id/miou>=50.00": -10.0}),
        trial(4, scored(50, 50)),
    ]
    assert numbers(views) == [3]
    assert numbers(views, top=2) == [3, 4]


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(0, 5))
def test_fresh_seeds_are_never_the_searchs_and_more_of_them_keep_the_first(
    seed: int, wanted: int, more: int
) -> None:
    file = study_file(seed=seed, replicates={"seeds": 4})
    seeds = fresh_seeds(file, wanted)
    assert len(set(seeds)) == wanted
    assert not set(seeds) & set(file.seeds())
    assert fresh_seeds(file, wanted + more)[:wanted] == seeds


def test_a_seed_that_the_search_happens_to_use_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = study_file()
    first, second, third = fresh_seeds(file, 3)
    monkeypatch.setattr(StudyFile, "seeds", lambda self, repeats: [second])
    assert fresh_seeds(file, 2) == [first, third]


@given(st.lists(st.tuples(percent, percent), min_size=1, max_size=6))
def test_a_winner_is_beaten_by_nobody_on_its_metric(scores: list[tuple[float, float]]) -> None:
    means = {number: scored(*pair) for number, pair in enumerate(scores)}
    won = winners(means)
    assert list(won) == ["best-id", "best-ood", "best-balanced"]
    for alias, metric in ALIASES.items():
        assert means[won[alias]][metric] == max(m[metric] for m in means.values())
    assert ALIASES["best-balanced"] == BALANCED


def test_of_a_minimised_objective_the_least_is_sent() -> None:
    costs = [5.0, 1.0, 9.0]
    views = [
        trial(n, {**scored(30, 30), "cost/cpu_seconds": cost}) for n, cost in enumerate(costs)
    ]
    views[2] = trial(2, {**scored(40, 40), "cost/cpu_seconds": costs[2]})
    names = ["cost/cpu_seconds"]
    assert [v.number for v in choose(views, names, top=1, minimize=names)] == [1, 2]
    assert [v.number for v in choose(views, names, top=1)] == [2]
