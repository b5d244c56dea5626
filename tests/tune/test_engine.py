"""The search engine on simulated curves: promotion, decisions, budgets, growth."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from support.recorded_curves import EPOCHS, KILLS, TABLE, run, study_file

from refkd.errors import RefKDError
from tune.audit.replay import replay
from tune.config.space import Value
from tune.simulation.curves import Curve, read_curves, write_curves
from tune.simulation.simulator import World, simulate_search
from tune.study.budget import stagnant, total
from tune.study.event_log import events
from tune.study.events import TeacherTrained
from tune.study.growth import check_growth, continue_survivors
from tune.study.launches import TOUCH
from tune.study.pruners import Tie
from tune.study.pruning import RungPruner
from tune.study.ranking import champions_in, current
from tune.study.search_study import MAX_STARTS, SearchStudy
from tune.study.summary import summarise
from tune.study.view import ENDED, TrialView


def test_promotion_resumes_the_best_and_ends_the_rest_as_pruned() -> None:
    result = run(pruning={"type": "promote"})
    views = result.study.views()
    assert not any(v.paused_at for v in views)
    promoted = [v for v in views if v.promotions]
    assert promoted
    for view in views:
        assert all(d["action"] == "pause" for d in view.decisions.values())
    assert result.epochs < 30 * EPOCHS


@pytest.mark.parametrize("trials", [1, 2, 5, 12])
@pytest.mark.parametrize("world", [None, KILLS], ids=["calm", "killed"])
def test_a_short_search_by_promotion_ends_with_a_trial_for_each_objective(
    trials: int, world: World | None
) -> None:
    result = run(world, pruning={"type": "promote", "one_in": 4}, budget={"trials": trials})
    complete = [v for v in result.study.views() if v.state == "COMPLETE"]
    assert len(complete) >= min(trials, 2)
    assert replay(result.study.optuna).differences == []


def test_fewer_pass_a_rung_where_one_in_more_does() -> None:
    def passed(**pruning: Any) -> int:
        views = run(pruning=pruning, sampler={"name": "random"}).study.views()
        return sum(v.epoch > 2 for v in views)

    for kind in ("promote", "stop"):
        assert passed(type=kind, one_in=8) < passed(type=kind) < passed(type=kind, one_in=2)


class Conflict:
    """What one objective gains the other loses, so that no trial is better than another."""

    def nearest(self, values: Mapping[str, Value]) -> Curve:
        share = TABLE.nearest(values).values["distill.lambda_id"]
        assert isinstance(share, float)
        rows = [
            {"val_id/miou": epoch * share, "val_ood/miou": epoch * (1 - share)}
            for epoch in range(1, EPOCHS + 1)
        ]
        return Curve(values=dict(values), metrics=rows)


@pytest.mark.parametrize("tie", get_args(Tie))
@pytest.mark.parametrize("one_in", [3, 4])
def test_one_in_so_many_is_promoted_where_none_is_better_than_another(
    tie: Tie, one_in: int
) -> None:
    pruning = {"one_in": one_in, "tie": tie}
    for trials in (10, 40):
        file = study_file(budget={"trials": trials, "finish": 0}, pruning=pruning)
        result = simulate_search(file.search_spec(), Conflict())
        views = result.study.views()
        passed = [sum(v.epoch > rung for v in views) for rung in (2, 6)]
        assert passed == [trials // one_in, trials // one_in // one_in]
        assert replay(result.study.optuna).differences == []


def test_of_trials_that_measured_the_same_the_first_goes_on_alone() -> None:
    pruner = RungPruner(study_file(pruning={"one_in": 3}).search_spec())

    def waiting(number: int, score: float) -> TrialView:
        curve = {"epoch:0002": {"val_id/miou": score, "val_ood/miou": score}}
        paused = {"rung:0002": {"action": "pause"}, "asked": {"values": {}}}
        return TrialView(number=number, state="RUNNING", attributes={**curve, **paused})

    views = [waiting(n, 50.0 if n in (1, 3, 4) else float(n)) for n in range(6)]
    gone_on = []
    while (found := pruner.promotion(views)) is not None:
        number, event = found
        gone_on.append(number)
        held = {**views[number].attributes, "promotion:0002": event.content()}
        views[number] = TrialView(number=number, state="RUNNING", attributes=held)
    assert gone_on == [1, 3], "two of six pass, and ranks count the same ones one by one"


@pytest.mark.parametrize("pruning", [{}, {"type": "stop"}], ids=str)
def test_a_decision_that_is_stored_is_not_taken_again(pruning: dict[str, Any]) -> None:
    study = SearchStudy(study_file(pruning=pruning).search_spec(), InMemoryStorage())
    study.begin_launch()
    seen = set()
    for _ in range(8):
        ask = study.ask()
        assert ask is not None
        for epoch in range(1, EPOCHS + 1):
            action = study.record(ask.number, epoch, TABLE.nearest(ask.values).at(epoch))
            before = len(events(study.views()))
            assert study.decide(ask.number, epoch) == action
            assert len(events(study.views())) == before
            seen.add(action)
            if action == "stop":
                study.prune(ask.number)
            elif action == "pause":
                study.pause(ask.number)
            if action != "go":
                break
        else:
            study.complete(ask.number, TABLE.nearest(ask.values).at(EPOCHS))
    assert len(seen) == 2


def test_pruning_saves_epochs_and_keeps_the_front() -> None:
    full, pruned = run(pruning={"name": "none"}), run()
    assert pruned.epochs < 0.7 * full.epochs
    ends = [[v.objectives for v in r.study.views() if v.objectives] for r in (full, pruned)]
    (id_full, ood_full), (id_pruned, ood_pruned) = (np.max(found, axis=0) for found in ends)
    assert id_pruned > 0.95 * id_full
    assert ood_pruned > 0.95 * ood_full


def test_the_front_is_the_one_that_optuna_shows_and_champions_are_on_it() -> None:
    result = run()
    summary = summarise("engine", result.study.views(), {})
    assert sorted(summary.front) == sorted(t.number for t in result.study.optuna.best_trials)
    assert 1 < len(summary.front) < len(summary.trials)
    assert set(summary.champions.values()) <= set(summary.front)


def test_of_equals_in_one_metric_the_champion_is_the_one_that_no_other_beats() -> None:
    def complete(number: int, *scores: float) -> TrialView:
        final = dict(zip(("val_id/miou", "val_ood/miou"), scores, strict=True))
        return TrialView(
            number=number,
            state="COMPLETE",
            objectives=list(scores),
            attributes={ENDED: {"final": final}},
        )

    views = [complete(0, 30.0, 10.0), complete(1, 30.0, 20.0), complete(2, 25.0, 20.0)]
    assert champions_in(views)["best-id"] == champions_in(views)["best-ood"] == 1
    assert champions_in([complete(3, 30.0, 20.0), *views])["best-id"] == 1, "the lower of equals"


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"trials": 30, "epochs": 90}, "budget.epochs"),
        ({"trials": 30, "trainings": 10}, "budget.trainings is used up (12 of 10)"),
        ({"trials": 30, "cpu_hours": 200 / 3600}, "budget.cpu_hours"),
        ({"trials": 30, "money": 0.08}, "budget.money"),
        ({"trials": 30, "patience": 3}, "patience"),
    ],
)
def test_a_study_stops_at_the_first_limit_reached(budget: dict[str, Any], reason: str) -> None:
    plain: dict[str, Any] = {"sampler": {"name": "tpe", "startup_trials": 4}}
    result = run(budget=budget, prices={"cpu_hour": 1.0}, pruning={"name": "none"}, **plain)
    assert reason in str(result.study.stop_reason())
    assert len(result.study.views()) < 30
    assert {v.state for v in result.study.views()} <= {"COMPLETE", "PRUNED"}
    assert result.study.left() == 0


@pytest.mark.parametrize("seeds", [1, 2])
def test_so_many_trainings_are_so_many_times_the_epochs_of_one(seeds: int) -> None:
    budgets: list[dict[str, int]] = [{"trainings": 6}, {"epochs": 6 * EPOCHS}]
    one, other = (
        run(budget={"trials": 60, **given}, replicates={"seeds": seeds}) for given in budgets
    )
    assert [(v.values, v.state, v.epoch) for v in one.study.views()] == [
        (v.values, v.state, v.epoch) for v in other.study.views()
    ]
    (launch,) = one.study.launches.all()
    assert launch.spec.budget == one.spec.budget
    assert total(one.study.views(), launch.limits).epochs >= 6 * EPOCHS
    assert replay(one.study.optuna).differences == []


def test_wall_time_counts_launches_that_were_killed() -> None:
    limit = {"budget": {"trials": 30, "wall_hours": 90 / 3600}, "pruning": {"name": "none"}}
    for world in (World(), World(kills=(45.0, 80.0))):
        result = run(world, **limit)
        assert "budget.wall_hours" in str(result.study.stop_reason())
        # Trials that run when the limit is reached are finished; a kill hides at most TOUCH.
        hidden = len(world.kills) * (TOUCH + world.restart)
        assert 90 <= result.seconds < 90 + hidden + 2 * EPOCHS * 2.0
        assert len(result.study.views()) < 30
        assert replay(result.study.optuna).differences == []


@pytest.mark.parametrize("step", [7200.0, -7200.0])
def test_setting_the_clock_uses_no_wall_time_and_gives_none(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = SearchStudy(
        study_file(budget={"trials": 30, "wall_hours": 1}).search_spec(), InMemoryStorage()
    )
    study.begin_launch()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + step)
    assert 0 <= study.launches.wall_seconds() < 3600
    study.launches.touch()
    (launch,) = study.launches.all()
    assert 0 <= launch.last - launch.begun < 3600


def test_a_replay_of_any_length_touches_no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    study = run().study
    monkeypatch.setattr("tune.study.launches.TOUCH", -1.0)
    assert replay(study.optuna).differences == []


def test_patience_counts_complete_trials_since_the_front_last_grew() -> None:
    views = run(pruning={"name": "none"}).study.views()
    assert 0 <= stagnant(views) < 30
    assert stagnant(views[:1]) == 0


def test_constraints_keep_trials_off_the_front_but_in_the_study() -> None:
    limit = 30.0
    result = run(constraints=[{"metric": "val_id/miou", "at_least": limit}])
    complete = [v for v in result.study.views() if v.state == "COMPLETE"]
    assert [v.feasible for v in complete] == [v.kept["val_id/miou"] >= limit for v in complete]
    best = {t.number for t in result.study.optuna.best_trials}
    assert best <= {v.number for v in complete if v.feasible}


def test_a_bound_can_be_a_teachers_own_score() -> None:
    storage = InMemoryStorage()
    file = study_file(
        constraints=[{"metric": "val_id/miou", "teacher": "id", "within": 0.5}],
        pruning={"name": "none"},
    )
    study = SearchStudy(file.search_spec(), storage)
    study.append(TeacherTrained(role="id", metrics={"val_id/miou": 40.0}))
    for score, feasible in ((39.6, True), (39.4, False)):
        ask = study.ask()
        assert ask is not None
        study.complete(ask.number, {"val_id/miou": score, "val_ood/miou": 20.0})
        assert study.views()[ask.number].feasible is feasible


def finished(**settings: Any) -> tuple[InMemoryStorage, SearchStudy]:
    result = run(**settings)
    return result.study.optuna._storage, result.study


def test_a_finished_study_grows_in_trials_epochs_and_space() -> None:
    small = study_file(budget={"trials": 12}, training={"epochs": 4}, pruning={"name": "none"})
    before = simulate_search(small.search_spec(), TABLE)
    storage = before.study.optuna._storage
    space = {
        **small.model_dump(mode="json", by_alias=True)["space"],
        "distill.kd_temperature": {"float": [0.5, 4.0]},
    }
    grown = study_file(
        budget={"trials": 24}, training={"epochs": 8}, pruning={"name": "none"}, space=space
    )
    study = SearchStudy(grown.search_spec(), storage)
    check_growth(grown.search_spec(), study.launches.all())
    study.begin_launch()
    assert continue_survivors(study) == list(range(12))
    assert continue_survivors(study) == []
    assert study.left() == 24
    for _ in range(24):
        ask = study.ask()
        assert ask is not None
        start = ask.inherited + 1
        assert start == (5 if ask.continues is not None else 1)
        if ask.continues is not None:  # trained so far with what the key was fixed to then
            assert ask.values["distill.kd_temperature"] == 1.0
        for epoch in range(start, 9):
            assert study.record(ask.number, epoch, TABLE.curves[0].at(epoch)) == "go"
        study.complete(ask.number, TABLE.curves[0].at(8))
    assert study.ask() is None
    views = study.views()
    assert len(views) == 36
    assert len(current(views)) == 24
    assert {v.epoch for v in current(views)} == {8}
    summary = summarise("grown", views, {"budget": {"trials": 24}})
    assert (summary.ended, summary.wanted) == (36, 36)
    assert len(study.launches.all()) == 2
    assert replay(study.optuna).differences == []


def test_a_trial_that_was_begun_keeps_its_values_when_the_space_changes() -> None:
    storage = InMemoryStorage()
    first = study_file(budget={"trials": 1}, workers=1, pruning={"name": "none"})
    study = SearchStudy(first.search_spec(), storage)
    study.begin_launch()
    begun = study.ask()
    assert begun is not None
    study.record(begun.number, 1, TABLE.curves[0].at(1))
    space = {
        "distill.lambda_id": first.space["distill.lambda_id"],
        "distill.kd_temperature": {"float": [0.5, 4.0]},
    }
    changed = study_file(
        budget={"trials": 1},
        workers=1,
        space=space,
        pruning={"name": "none"},
        distill={"warmup_epochs": 1, "lambda_ood": 9.0},
    )
    again = SearchStudy(changed.search_spec(), storage)
    check_growth(changed.search_spec(), again.launches.all())
    again.begin_launch()
    taken_up = again.ask()
    assert taken_up is not None
    assert taken_up.number == begun.number
    assert taken_up.values == {**begun.values, "distill.kd_temperature": 1.0}
    config = changed.student_config(taken_up.values, seed=0)
    assert config.distill.lambda_ood == begun.values["distill.lambda_ood"]
    for epoch in range(2, EPOCHS + 1):
        again.record(taken_up.number, epoch, TABLE.curves[0].at(epoch))
    again.complete(taken_up.number, TABLE.curves[0].at(EPOCHS))
    assert replay(again.optuna).differences == []


def test_a_trial_that_was_cut_off_from_telling_is_ended_by_the_next_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = InMemoryStorage()
    whole: dict[str, Any] = {"pruning": {"name": "none"}}
    study = SearchStudy(study_file(workers=1, **whole).search_spec(), storage)
    study.begin_launch()
    ask = study.ask()
    assert ask is not None
    for epoch in range(1, EPOCHS + 1):
        study.record(ask.number, epoch, TABLE.curves[0].at(epoch))
    with monkeypatch.context() as killed:
        killed.setattr("tune.compat.tell", lambda *_, **__: pytest.exit("killed"))
        with pytest.raises(pytest.exit.Exception):
            study.complete(ask.number, TABLE.curves[0].at(EPOCHS))
    again = SearchStudy(study_file(workers=2, **whole).search_spec(), storage)
    assert again.views()[0].state == "RUNNING"
    again.begin_launch()
    (ended,) = again.views()
    assert (ended.state, ended.objectives) == ("COMPLETE", ended.attributes["ended"]["values"])
    following = again.ask()
    assert following is not None
    assert following.number == 1
    assert replay(again.optuna).differences == []


def test_a_score_that_is_not_finite_is_replayed_as_it_was() -> None:
    study = SearchStudy(
        study_file(objectives=["val_id/miou"], workers=1).search_spec(), InMemoryStorage()
    )
    study.begin_launch()
    ask = study.ask()
    assert ask is not None
    study.record(ask.number, 1, {**TABLE.curves[0].at(1), "val_id/miou": math.nan})
    study.record(ask.number, 2, TABLE.curves[0].at(2))
    assert replay(study.optuna).differences == []


def test_nobody_is_promoted_once_the_budget_is_used_up() -> None:
    epochs = 40
    budget = {"trials": 30, "epochs": epochs}
    result = run(budget=budget, pruning={"type": "promote"}, workers=1)
    assert "budget.epochs" in str(result.study.stop_reason())
    # The trial that was running when the limit was reached may go on to its next rung.
    assert result.epochs < epochs + EPOCHS


def test_all_seeds_of_a_complete_trial_are_paid_for() -> None:
    file = study_file(
        budget={"trials": 1}, replicates={"seeds": 3, "race": 1}, prices={"cpu_hour": 3600.0}
    )
    study = SearchStudy(file.search_spec(), InMemoryStorage())
    study.begin_launch()
    ask = study.ask()
    assert ask is not None
    for epoch in range(1, EPOCHS + 1):
        study.record(ask.number, epoch, TABLE.curves[0].at(epoch))
    racing = total(study.views(), file)
    assert (racing.epochs, racing.cpu_seconds) == (EPOCHS, 2.0 * EPOCHS)
    last = TABLE.curves[0].at(EPOCHS)
    study.complete(ask.number, {**last, "cost/cpu_seconds": 3 * last["cost/cpu_seconds"]})
    spent = total(study.views(), file)
    assert (spent.epochs, spent.cpu_seconds) == (3 * EPOCHS, 6.0 * EPOCHS)
    assert spent.money == pytest.approx(6.0 * EPOCHS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {"epochs": 3}}, "fewer epochs"),
        ({"distill": {"warmup_epochs": 2}}, "distill.warmup_epochs is now 2"),
        (
            {"space": {"distill.lambda_id": {"float": [0.01, 1.0]}}},
            "is now a float, in launch 1 it was a logarithmic float",
        ),
    ],
)
def test_a_change_that_would_falsify_earlier_trials_is_refused(
    change: dict[str, Any], message: str
) -> None:
    _, study = finished()
    with pytest.raises(RefKDError, match=message):
        check_growth(study_file(**change).search_spec(), study.launches.all())


def test_other_bounds_samplers_and_pruners_are_welcome() -> None:
    _, study = finished()
    change = {
        "space": {"distill.lambda_id": {"float": [0.001, 2.0], "log": True}},
        "sampler": {"name": "random"},
        "pruning": {"name": "none"},
    }
    check_growth(study_file(**change).search_spec(), study.launches.all())


def test_other_objectives_are_refused_and_facts_are_bound() -> None:
    storage, study = finished()
    study.bind("dataset", "abc")
    with pytest.raises(RefKDError, match="other values of 'dataset'"):
        study.bind("dataset", "def")
    study.bind("objectives", study.spec.objectives)
    with pytest.raises(RefKDError, match="objectives"):
        SearchStudy(study_file(objectives=["val_id/miou"]).search_spec(), storage)


def test_points_are_tried_first_and_never_enqueued_twice() -> None:
    point = {"distill.lambda_id": 0.1, "distill.lambda_ood": 0.2}
    file = study_file(start_from=[point, point], budget={"trials": 4})
    study = SearchStudy(file.search_spec(), InMemoryStorage())
    for _ in range(3):
        study.begin_launch()
        waiting = study.optuna.get_trials(states=(TrialState.WAITING,))
        assert len(waiting) == 1
    first = study.ask()
    assert first is not None
    assert first.values == point
    study.begin_launch()
    assert not study.optuna.get_trials(states=(TrialState.WAITING,))


def test_points_beyond_the_budget_do_not_take_the_place_of_survivors() -> None:
    points = [{"distill.lambda_id": 0.1 * (i + 1)} for i in range(6)]
    storage = InMemoryStorage()
    settings: dict[str, Any] = {
        "start_from": points,
        "budget": {"trials": 3},
        "pruning": {"name": "none"},
    }
    small = SearchStudy(study_file(**settings, training={"epochs": 4}).search_spec(), storage)
    small.begin_launch()
    for _ in range(3):
        ask = small.ask()
        assert ask is not None
        for epoch in range(1, 5):
            small.record(ask.number, epoch, TABLE.curves[0].at(epoch))
        small.complete(ask.number, TABLE.curves[0].at(4))
    assert small.ask() is None
    grown = SearchStudy(study_file(**settings, training={"epochs": 6}).search_spec(), storage)
    grown.begin_launch()
    assert continue_survivors(grown) == [0, 1, 2]
    asked = [grown.ask() for _ in range(3)]
    assert [ask.continues for ask in asked if ask is not None] == [0, 1, 2]
    larger = SearchStudy(
        study_file(**{**settings, "budget": {"trials": 5}}, training={"epochs": 6}).search_spec(),
        storage,
    )
    larger.begin_launch()
    waiting = larger.optuna.get_trials(states=(TrialState.WAITING,))
    assert [t.system_attrs["fixed_params"] for t in waiting] == points[3:5]


def test_a_trial_that_kills_its_worker_before_every_epoch_is_given_up() -> None:
    storage = InMemoryStorage()
    file = study_file(budget={"trials": 1})
    for _ in range(MAX_STARTS):
        ask = SearchStudy(file.search_spec(), storage).ask()
        assert ask is not None
        assert ask.number == 0
    study = SearchStudy(file.search_spec(), storage)
    assert study.ask() is None
    (view,) = study.views()
    assert view.state == "FAIL"
    assert str(MAX_STARTS) in str(view.reason)


def test_results_that_are_not_finite_fail_with_the_reason() -> None:
    study = SearchStudy(study_file().search_spec(), InMemoryStorage())
    ask = study.ask()
    assert ask is not None
    assert study.complete(ask.number, {"val_id/miou": math.nan, "val_ood/miou": 1.0}) == "FAIL"
    assert "val_id/miou" in str(study.views()[0].reason)


def test_the_simulator_is_deterministic() -> None:
    first, second = run(KILLS), run(KILLS)
    assert first.seconds == second.seconds
    assert [v.values for v in first.study.views()] == [v.values for v in second.study.views()]


def test_curves_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    write_curves(TABLE, path)
    assert read_curves(path) == TABLE
