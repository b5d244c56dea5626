"""What other programs put into a study, take from it or end: shown, and it decides nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from support.recorded_curves import EPOCHS, TABLE, study_file

from refkd.errors import RefKDError
from tune.audit.replay import replay
from tune.study.growth import continue_survivors
from tune.study.search_study import SearchStudy
from tune.study.storage import close_storage
from tune.study.summary import Summary, summarise
from tune.study.view import FOREIGN

LAMBDA, HIDDEN, SIDE, RHO = (
    "distill.lambda_id",
    "backbone.hidden",
    "distill.reweighting",
    "distill.rho",
)
SPACE: dict[str, Any] = {
    LAMBDA: {"float": [0.01, 1.0], "log": True},
    HIDDEN: {"int": [32, 64], "step": 16},
    SIDE: {"choice": [False, True]},
    RHO: {"choice": ["clips", "seconds"]},
}


def begun(storage: Any = None, **changes: Any) -> SearchStudy:
    file = study_file(**{"space": SPACE, "budget": {"trials": 8}, **changes})
    study = SearchStudy(file.search_spec(), storage or InMemoryStorage())
    study.begin_launch()
    return study


def other(study: SearchStudy) -> optuna.Study:
    """Return the study as another program opens it."""
    return optuna.load_study(study_name=study.spec.name, storage=study._storage)


def search(study: SearchStudy, meanwhile: Callable[[int], None] = lambda asked: None) -> None:
    """Run two trials at a time to the end; `meanwhile` is called before each request."""
    running: list[tuple[int, int]] = []
    asked = 0
    while True:
        while len(running) < 2:
            meanwhile(asked)
            asked += 1
            ask = study.ask()
            if ask is None:
                break
            running.append((ask.number, study.views()[ask.number].epoch))
        if not running:
            break
        number, epoch = running.pop(0)
        metrics = TABLE.curves[number % len(TABLE.curves)].at(epoch + 1)
        if study.record(number, epoch + 1, metrics) == "go" and epoch + 1 < EPOCHS:
            running.append((number, epoch + 1))
        else:
            study.end(number, metrics)
    study.close_paused()


def summary(study: SearchStudy) -> Summary:
    budget = {"trials": study.spec.budget.trials}
    return summarise("engine", study.views(), {"objectives": ["a", "b"], "budget": budget})


def assert_whole(study: SearchStudy, trials: int = 8) -> None:
    """Assert that the search ran all its own trials, and repeats."""
    own = [v for v in study.views() if v.state in ("COMPLETE", "PRUNED")]
    assert len(own) == trials
    assert all(list(v.curve) == list(range(1, v.epoch + 1)) for v in own)
    assert study.left() == 0
    assert replay(study.optuna).differences == []
    told = summary(study)
    assert told.ended == told.wanted
    assert set(told.front) <= {v.number for v in own}
    assert Summary.model_validate_json(told.model_dump_json()) == told


UNFIT: list[tuple[Any, str]] = [
    ({LAMBDA: 5.0}, "outside"),
    ({LAMBDA: -0.1}, "outside"),
    ({LAMBDA: 0}, "outside"),
    ({LAMBDA: 10**400}, "outside"),
    ({LAMBDA: math.nan}, "outside"),
    ({LAMBDA: math.inf}, "outside"),
    ({LAMBDA: True}, "no number"),
    ({LAMBDA: "0.1"}, "no number"),
    ({LAMBDA: None}, "no number"),
    ({LAMBDA: [0.1]}, "no number"),
    ({LAMBDA: {"value": 0.1}}, "no number"),
    ({HIDDEN: 48.0}, "no whole number"),
    ({HIDDEN: 48.5}, "no whole number"),
    ({HIDDEN: 40}, "none of 32, 48"),
    ({HIDDEN: 128}, "outside"),
    ({HIDDEN: False}, "no number"),
    ({RHO: "minutes"}, "none of"),
    ({RHO: "Clips"}, "none of"),
    ({RHO: 0}, "none of"),
    ({RHO: None}, "none of"),
    ({RHO: ["clips"]}, "none of"),
    ({SIDE: 1}, "none of"),
    ({SIDE: "true"}, "none of"),
    ({LAMBDA: 0.1, "distill.lambda_it": 0.1}, "did you mean 'distill.lambda_id'"),
    ({"Distill.Lambda_ID": 0.1}, "not in the space"),
    ({"training.epochs": 2}, "not in the space"),
    ({"": 1}, "not in the space"),
    ({LAMBDA: 0.1, HIDDEN: "48"}, "no number"),
]


@pytest.mark.parametrize(("point", "fault"), UNFIT, ids=str)
def test_a_point_that_does_not_fit_fails_with_the_reason_and_costs_nothing(
    point: dict[str, Any], fault: str
) -> None:
    study = begun()
    other(study).enqueue_trial(point)
    search(study)
    refused = study.views()[0]
    assert other(study).trials[0].state == TrialState.FAIL
    assert (refused.state, refused.epoch) == ("FAIL", 0)
    assert str(refused.reason).startswith("enqueued with")
    assert fault in str(refused.reason)
    assert_whole(study)


@pytest.mark.parametrize(
    ("point", "taken"),
    [
        ({}, {}),
        ({LAMBDA: 0.5}, {LAMBDA: 0.5}),
        ({LAMBDA: 1}, {LAMBDA: 1.0}),
        ({LAMBDA: 1.0, HIDDEN: 64, SIDE: True, RHO: "clips"}, None),
    ],
    ids=str,
)
def test_a_point_that_fits_is_tried_and_the_sampler_gives_the_keys_that_it_lacks(
    point: dict[str, Any], taken: dict[str, Any] | None
) -> None:
    study = begun()
    other(study).enqueue_trial(point, user_attrs={"note": "by hand"})
    search(study)
    tried = study.views()[0]
    assert set(tried.values) == set(SPACE)
    assert {**tried.values, **(point if taken is None else taken)} == tried.values
    assert tried.attributes["note"] == "by hand"
    assert_whole(study)


@pytest.mark.parametrize(
    "key", ["continues", "inherited", "ended", "asked", "epoch:0001", "reason"]
)
def test_a_point_with_attributes_of_the_search_is_not_tried(key: str) -> None:
    study = begun()
    other(study).enqueue_trial({LAMBDA: 0.1}, user_attrs={key: 3})
    search(study)
    assert f"the attribute '{key}'" in str(study.views()[0].reason)
    assert_whole(study)


def test_a_trial_enqueued_again_with_all_its_attributes_is_not_tried() -> None:
    study = begun()
    search(study)
    done = other(study).trials[2]
    other(study).enqueue_trial(done.params, user_attrs=done.user_attrs)
    again = begun(study._storage, budget={"trials": 10})
    search(again)
    assert again.views()[8].state == "FAIL"
    assert_whole(again, trials=10)


LIKE_OURS = {
    "asked": {"values": {LAMBDA: 0.1}, "stamp": [1, 0.0, "0" * 16, 1]},
    "epoch:0002": {"val_id/miou": 99.0, "val_ood/miou": 99.0, "stamp": [2, 0.0, "0" * 16, 1]},
    "epoch:late": {"val_id/miou": 99.0, "stamp": 5},
    "rung:0002": {"action": "pause", "stamp": [3, 0.0, "0" * 16, 1]},
    "ended": {"state": "COMPLETE", "values": [99.0, 99.0], "stamp": [4, 0.0, "0" * 16, 1]},
    "epochs": EPOCHS - 1,
    "continues": 0,
    "violations": {"x": "y"},
}
VALUES: dict[TrialState, list[float] | None] = {TrialState.COMPLETE: [99.0, 99.0]}
DISTRIBUTIONS: list[dict[str, Any]] = [
    {},
    {"x": FloatDistribution(0, 1)},
    {LAMBDA: FloatDistribution(1e-9, 1e9, log=True), "y": IntDistribution(0, 5)},
    {"z": CategoricalDistribution(("a", None, 3))},
]


def add(study: optuna.Study, state: TrialState, **more: Any) -> None:
    known = more.pop("distributions", {})
    values = {k: d.to_external_repr(1) for k, d in known.items()}
    study.add_trial(
        create_trial(
            state=state,
            values=VALUES.get(state),
            params=values,
            distributions=known,
            user_attrs=more.get("user_attrs"),
            intermediate_values=more.get("intermediate_values"),
        )
    )


@pytest.mark.parametrize("attributes", [{}, LIKE_OURS], ids=["plain", "like ours"])
@pytest.mark.parametrize("distributions", DISTRIBUTIONS, ids=["none", "other", "wider", "choice"])
@pytest.mark.parametrize("state", list(TrialState), ids=lambda state: state.name)
def test_a_trial_put_there_is_foreign_before_and_during_a_search(
    state: TrialState, distributions: dict[str, Any], attributes: dict[str, Any]
) -> None:
    if state == TrialState.WAITING and not distributions:
        pytest.skip("a waiting trial without values is an enqueued one")
    more = {"distributions": distributions, "user_attrs": attributes}
    if state != TrialState.WAITING:
        more["intermediate_values"] = {2: 99.0}
    study = begun()
    add(other(study), state, **more)

    def meanwhile(asked: int) -> None:
        if asked in (3, 6):
            add(other(study), state, **more)

    search(study, meanwhile)
    foreign = [v for v in study.views() if v.state == FOREIGN]
    assert foreign[0].number == 0
    assert len(foreign) == 3
    assert all(state.name in str(v.reason) and not v.curve for v in foreign)
    assert_whole(study)
    grown = begun(study._storage, training={"epochs": EPOCHS + 1}, budget={"trials": 8})
    assert not {v.number for v in foreign} & set(continue_survivors(grown))


def test_copies_of_own_trials_and_of_another_studys_are_foreign() -> None:
    first, second = begun(), begun(seed=5)
    search(first)
    for trial in [*first.optuna.trials, *first.optuna.trials[:3]]:
        second.optuna.add_trial(trial)
    search(second)
    for trial in second.optuna.trials[11:]:
        second.optuna.add_trial(trial)
    assert [v.state == FOREIGN for v in second.views()] == [True] * 11 + [False] * 8 + [True] * 8
    assert_whole(second)


SAMPLERS: list[dict[str, Any]] = [
    {"sampler": {"name": "tpe", "startup_trials": 2}},
    {"sampler": {"name": "tpe", "startup_trials": 2, "multivariate": False}},
    {"sampler": {"name": "nsga2", "population": 3}},
    {"sampler": {"name": "nsga3", "population": 3}},
    {"sampler": {"name": "gp", "startup_trials": 10}},
    {"sampler": {"name": "qmc"}},
    {"sampler": {"name": "random"}},
    {"pruning": {"type": "stop"}},
    {"objectives": ["val_id/miou"], "pruning": {"name": "median"}},
    {"objectives": ["val_id/miou"], "pruning": {"name": "successive_halving"}},
    {"objectives": ["val_id/miou"], "pruning": {"name": "hyperband"}},
    {"objectives": ["val_id/miou"], "sampler": {"startup_trials": 2}},
]


@pytest.mark.parametrize("changes", SAMPLERS, ids=str)
def test_what_a_foreign_trial_holds_changes_no_decision(changes: dict[str, Any]) -> None:
    def searched(score: float, distributions: dict[str, Any]) -> SearchStudy:
        study = begun(**changes, budget={"trials": 14})
        values = [score] * len(study.spec.objectives)
        params = {k: d.to_external_repr(1) for k, d in distributions.items()}

        def meanwhile(asked: int) -> None:
            if asked % 4 == 1:
                other(study).add_trial(
                    create_trial(values=values, params=params, distributions=distributions)
                )

        search(study, meanwhile)
        return study

    a, b = searched(1.0, DISTRIBUTIONS[2]), searched(1e6, {"x": FloatDistribution(0, 1)})
    for one, two in zip(a.views(), b.views(), strict=True):
        assert (one.state, one.values, one.curve) == (two.state, two.values, two.curve)
    assert_whole(a, trials=14)


ENDS = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)


@pytest.mark.parametrize(
    ("changes", "state"),
    [({}, ENDS[1]), ({}, ENDS[2]), *((changes, ENDS[0]) for changes in SAMPLERS)],
    ids=str,
)
def test_a_search_goes_on_without_a_trial_that_another_program_ends(
    changes: dict[str, Any], state: TrialState
) -> None:
    study = begun(**changes, budget={"trials": 10})
    lost: list[int] = []

    def meanwhile(asked: int) -> None:
        running = [v.number for v in study.views() if v.state == "RUNNING" and v.epoch]
        if asked in (3, 6) and running:
            values = [99.0] * len(study.spec.objectives) if state == TrialState.COMPLETE else None
            other(study).tell(running[-1], values, state)
            lost.append(running[-1])

    search(study, meanwhile)
    assert lost
    assert [v.number for v in study.views() if v.state == FOREIGN] == lost
    assert all(state.name in str(study.views()[number].reason) for number in lost)
    assert_whole(study, trials=10)


def test_an_epoch_that_comes_too_late_leaves_no_gap_in_the_order() -> None:
    study = begun()
    ask = study.ask()
    assert ask is not None
    assert study.record(ask.number, 1, TABLE.curves[0].at(1)) == "go"
    other(study).tell(ask.number, state=TrialState.FAIL)
    assert study.record(ask.number, 2, TABLE.curves[0].at(2)) == "stop"
    assert study.end(ask.number, {}) == study.fail(ask.number, "its worker died") == FOREIGN
    study.give_back(ask.number)
    search(study)
    assert_whole(study)


def test_trials_that_were_ended_while_no_driver_was_at_work_are_left_alone() -> None:
    study = begun()
    for _ in range(3):
        ask = study.ask()
        assert ask is not None
        study.record(ask.number, 1, TABLE.curves[ask.number].at(1))
    for trial in other(study).trials:
        other(study).tell(trial.number, state=TrialState.FAIL)
    again = begun(study._storage)
    search(again)
    assert [v.state for v in again.views()[:3]] == [FOREIGN] * 3
    assert_whole(again)


def test_a_trial_that_another_program_asked_for_is_its_own() -> None:
    study = begun(start_from=[{LAMBDA: 0.1}, {LAMBDA: 0.2}])
    first = other(study).ask()
    assert first.suggest_float(LAMBDA, 0.01, 1.0, log=True) == 0.1
    taken: list[int] = [first.number]

    def meanwhile(asked: int) -> None:
        if asked in (2, 5):
            taken.append(other(study).ask().number)

    search(study, meanwhile)
    for number in taken[:2]:
        other(study).tell(number, [1.0, 1.0])
    again = begun(study._storage)  # the point that the other program took is still to be tried
    assert [v.number for v in again.views() if v.state == FOREIGN] == taken
    search(again)
    assert_whole(again)


def test_a_parameter_that_optuna_holds_as_another_kind_is_named_before_anything_starts() -> None:
    study = optuna.create_study(
        study_name="engine", storage=(storage := InMemoryStorage()), directions=["maximize"] * 2
    )
    kind = {LAMBDA: CategoricalDistribution(("low", "high"))}
    study.add_trial(create_trial(values=[1.0, 2.0], params={LAMBDA: "low"}, distributions=kind))
    with pytest.raises(RefKDError, match=r"trial 0.*distill\.lambda_id.*another name"):
        begun(storage)


@given(
    st.dictionaries(
        st.sampled_from([*SPACE, "x", "distill", "seed"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from([0.1, 48, "clips", True])
        | st.lists(st.integers(), max_size=2),
        max_size=4,
    )
)
@settings(deadline=None)
def test_any_enqueued_point_is_tried_or_refused(point: dict[str, Any]) -> None:
    study = begun(budget={"trials": 1}, pruning={"name": "none"})
    other(study).enqueue_trial(point)
    search(study)
    tried = [v for v in study.views() if v.state == "COMPLETE"]
    assert len(tried) == 1
    if len(study.views()) == 1:
        assert {**tried[0].values, **point} == tried[0].values
    else:
        assert study.views()[0].reason
    assert replay(study.optuna).differences == []


def test_on_a_real_storage_as_in_memory(storage_url: str) -> None:
    study = begun(storage_url)
    name, url = study.spec.name, storage_url
    stranger = optuna.load_study(study_name=name, storage=study._storage)
    for point, _ in UNFIT[:3] + UNFIT[7:12]:
        stranger.enqueue_trial(point)
    for state in TrialState:
        add(stranger, state, distributions=DISTRIBUTIONS[2], user_attrs=LIKE_OURS)
    close_storage(study._storage)
    again = begun(url)
    search(again)
    states = [v.state for v in again.views()]
    assert (states.count("FAIL"), states.count(FOREIGN)) == (8, 5)
    assert_whole(again)
    close_storage(again._storage)
