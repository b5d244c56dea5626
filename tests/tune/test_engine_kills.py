"""Simulated searches that are killed, or changed behind the back: same outcomes, replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from support.recorded_curves import EPOCHS, KILLS, fill, run, study_file

from tune.audit.replay import replay
from tune.config.study_file import StudyFile
from tune.simulation.simulator import Simulated, World
from tune.study.event_log import START, events, link
from tune.study.optuna_pruning import ask_optuna
from tune.study.search_study import SearchStudy
from tune.study.trial_events import RungJudged
from tune.study.view import STAMP

SETTINGS = [
    {},
    {"pruning": {"type": "stop"}},
    {"sampler": {"name": "tpe"}, "pruning": {"type": "stop", "one_in": 3}},
    {"pruning": {"tie": "epsilon_net"}},
    {"pruning": {"name": "none"}},
    {"sampler": {"name": "nsga2", "population": 6}},
    {"sampler": {"name": "random"}},
    {"sampler": {"name": "qmc"}},
    {"objectives": ["val_id/miou"]},
    {"objectives": ["val_id/miou"], "pruning": {"name": "median"}},
    {"objectives": ["val_id/miou"], "pruning": {"type": "stop"}},
    {"objectives": ["val_id/miou"], "pruning": {"name": "successive_halving"}},
    {"objectives": ["val_id/miou"], "pruning": {"name": "hyperband"}},
    {"constraints": [{"metric": "val_id/miou", "at_least": 30.0}]},
]
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def ended(result: Simulated) -> list[str]:
    return [view.state for view in result.study.views()]


@every_setting
def test_every_trial_has_one_outcome_and_a_gapless_curve(settings: dict[str, Any]) -> None:
    result = run(KILLS, **settings)
    views = result.study.views()
    assert len(views) == 30
    assert {v.state for v in views} <= {"COMPLETE", "PRUNED"}
    assert "COMPLETE" in ended(result)
    for view in views:
        assert list(view.curve) == list(range(1, view.epoch + 1))
        assert view.state != "COMPLETE" or view.epoch == EPOCHS


@every_setting
def test_a_killed_parallel_search_replays_without_a_difference(settings: dict[str, Any]) -> None:
    result = replay(run(KILLS, **settings).study.optuna)
    assert result.differences == []
    assert result.suggestions == 30
    if settings.get("pruning", {}).get("name") != "none":
        assert result.decisions > 0


@every_setting
def test_with_one_worker_kills_change_nothing(settings: dict[str, Any]) -> None:
    calm = run(**settings, workers=1)
    killed = run(World(kills=KILLS.kills), **settings, workers=1)
    for a, b in zip(calm.study.views(), killed.study.views(), strict=True):
        assert (a.values, a.state, a.curve, a.objectives) == (
            b.values,
            b.state,
            b.curve,
            b.objectives,
        )


def decisions(result: Simulated) -> list[dict[int, dict[str, Any]]]:
    """Return what was decided of each trial, without when."""
    return [
        {
            epoch: {k: v for k, v in made.items() if k != STAMP}
            for epoch, made in v.decisions.items()
        }
        for v in result.study.views()
    ]


@pytest.mark.parametrize("pruner", ["successive_halving", "hyperband"])
def test_a_pruner_asked_again_after_a_kill_decides_the_same(
    pruner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver killed before its decision is stored asks once more; these pruners write."""
    settings = {"objectives": ["val_id/miou"], "pruning": {"name": pruner}}
    calm = run(**settings)
    once = ask_optuna

    def twice(*asked: Any) -> RungJudged:
        once(*asked)
        return once(*asked)

    monkeypatch.setattr("tune.study.pruning.ask_optuna", twice)
    again = run(**settings)
    assert ended(calm).count("PRUNED") > 0
    assert decisions(again) == decisions(calm)


def die_after(
    storage: InMemoryStorage,
    method: str,
    chosen: Callable[[int, str], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kill the driver once: after the first such call that writes what is chosen of a trial."""
    write, killed = getattr(storage, method), list[str]()

    def die(trial: int, name: str, *value: Any) -> None:
        write(trial, name, *value)
        if chosen(trial, name) and not killed:
            killed.append(name)
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, method, die)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "qmc", "random", "curves"])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_a_kill_between_two_values_of_a_trial_changes_neither(
    sampler: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"sampler": {"name": sampler, "startup_trials": 4}, "budget": {"trials": 6}}
    file, storage = study_file(workers=1, **settings), InMemoryStorage()
    die_after(storage, "set_trial_param", lambda trial, _: trial == number, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        _launched(file, storage)
    again = _launched(file, storage)
    calm = _launched(file, InMemoryStorage())
    assert [v.values for v in again.views()] == [v.values for v in calm.views()]
    assert replay(again.optuna).differences == []


@pytest.mark.parametrize("points", [[], [{"distill.lambda_id": 0.1}]], ids=["drawn", "queued"])
@pytest.mark.parametrize("key", ["attempt", "taken_up_at"])
def test_a_trial_that_was_killed_before_its_values_were_stored_goes_on(
    points: list[dict[str, float]], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, storage = study_file(budget={"trials": 3}, start_from=points), InMemoryStorage()
    die_after(storage, "set_trial_user_attr", lambda _, name: name == key, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        _launched(file, storage)
    views = _launched(file, storage).views()
    assert [v.state == "FAIL" for v in views] == [False] * 3


def _launched(file: StudyFile, storage: InMemoryStorage) -> SearchStudy:
    study = SearchStudy(file.search_spec(), storage)
    study.begin_launch()
    fill(study)
    return study


def test_a_kill_loses_at_most_the_running_epoch_of_each_trial() -> None:
    calm, killed = run(workers=1), run(World(kills=KILLS.kills), workers=1)
    assert killed.epochs - calm.epochs <= len(KILLS.kills)


def tampered(change: Callable[[FrozenTrial], None]) -> list[str]:
    study = run(KILLS).study
    change(study.optuna.get_trials(deepcopy=False)[7])
    return [str(d) for d in replay(study.optuna).differences]


def test_a_tampered_epoch_is_found_and_named() -> None:
    def change(trial: FrozenTrial) -> None:
        trial.user_attrs["epoch:0002"]["val_id/miou"] += 1e-9

    (found,) = tampered(change)
    assert "trial 7: epoch:0002" in found


def test_a_difference_is_told_in_a_line_however_much_differs() -> None:
    def change(trial: FrozenTrial) -> None:
        trial.user_attrs["epoch:0002"]["train/loss"] = list(range(1000))

    (found,) = tampered(change)
    assert len(found) < 400


def test_a_tampered_value_is_found_and_named() -> None:
    def change(trial: FrozenTrial) -> None:
        trial.params["distill.lambda_id"] = 0.5

    assert "trial 7: the set of values" in tampered(change)[0]


def test_a_tampered_result_is_found_and_named() -> None:
    study = run(KILLS).study
    trial = next(t for t in study.optuna.get_trials(deepcopy=False) if t.values)
    trial.values = [99.0, 99.0]
    assert f"trial {trial.number}: the result" in str(replay(study.optuna).differences[0])


def test_a_forged_chain_is_found_by_computing_the_suggestion_again() -> None:
    """Whoever alters an event and mends all hashes still meets the sampler."""
    study = run(sampler={"name": "random"}).study
    trials = study.optuna.get_trials(deepcopy=False)
    forged = trials[5]
    forged.params["distill.lambda_id"] = 0.5
    forged.user_attrs["asked"]["values"]["distill.lambda_id"] = 0.5
    before = START
    own = study.optuna.user_attrs
    for event in events(study.views(), own):
        s = event.stamp
        before = link(before, [s.place, s.launch, event.number, event.key, event.content])
        held = own if event.number is None else trials[event.number].user_attrs
        held[event.key]["stamp"][2] = before
        if event.number is None:
            study.note(event.key, held[event.key])
    assert "trial 5: asked" in str(replay(study.optuna).differences[0])


@pytest.mark.parametrize(
    "change",
    [
        {"final": {"val_id/miou": 99.0, "val_ood/miou": 99.0}},
        {"violations": {"val_id/miou>=30.00": 5.0}},
    ],
    ids=["what it kept", "its feasibility"],
)
def test_what_tables_show_of_an_end_cannot_be_changed_unseen(change: dict[str, Any]) -> None:
    def tamper(trial: FrozenTrial) -> None:
        trial.user_attrs["ended"] = {**trial.user_attrs["ended"], **change}

    assert tampered(tamper)
