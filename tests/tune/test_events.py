"""The events of a study: what is stored is read again, in one order that nobody can change."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from optuna.storages import InMemoryStorage
from support.recorded_curves import study_file
from support.small_study import SmallStudy, make_study

from refkd.data.dataset import Dataset
from tune.audit.examine import examine
from tune.audit.replay import replay
from tune.report.tables import provenance
from tune.study.environment import Environment, environment
from tune.study.event_base import study_events
from tune.study.event_log import breaks, events
from tune.study.events import (
    AliasMoved,
    ChampionsChosen,
    Event,
    LaunchBegun,
    LookDone,
    LookTaken,
    StudyEvent,
    TeacherTrained,
    TrialLost,
    TrialRetried,
    champions_of,
    teachers_of,
)
from tune.study.finalist_events import FinalistEpochEnded, FinalistsBegun, FinalistTrained
from tune.study.launch import read_launches
from tune.study.lease import lease
from tune.study.locate import NoStudyError, locate
from tune.study.opening import open_study
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot
from tune.study.trial_events import (
    EpochEnded,
    RungJudged,
    TrialAsked,
    TrialEnded,
    TrialPromoted,
    VideosScored,
    trial_event,
)
from tune.study.view import SCHEMA

CODE = Environment(
    refkd="1.2.3", python="3.11.7", packages={"torch": "2.13"}, git_commit="abc", git_dirty="true"
)
SCORES = {"val_id/miou": 41.5, "cost/cpu_seconds": 3.0}
OF_TRIALS: list[Event] = [
    TrialAsked(values={"distill.tau": 0.5, "backbone.name": "seqpan", "a": 3, "b": None}),
    EpochEnded(epoch=12, metrics=SCORES),
    RungJudged(epoch=4, action="stop", better=3, among=9),
    VideosScored(epoch=4, scored={"val_id/miou": "ADYAPAIAAQA="}),
    RungJudged(epoch=4, action="stop", probability=0.02, among=9),
    RungJudged(epoch=4, action="go", written={"completed_rung_0": 1.5}),
    TrialPromoted(epoch=4, better=0, among=9),
    TrialEnded(state="FAIL"),
    TrialEnded(state="COMPLETE", values=[41.5], final=SCORES, violations={"x>=1.00": -0.5}),
]
OF_STUDIES: list[StudyEvent] = [
    LaunchBegun(number=7, begun=1.5, file={"name": "quick"}, environment=CODE),
    LaunchBegun(number=8, begun=1.5, file={}),
    TeacherTrained(role="id", digest="d", epoch=2, epochs=3, metrics=SCORES, cost=SCORES),
    TrialLost(number=5),
    TrialRetried(number=3),
    ChampionsChosen(by="finalists", champions={"best-id": 3}, trials=8),
    FinalistsBegun(begun=2.5, trials=[3, 4], seeds=[17, 18], environment=CODE),
    FinalistEpochEnded(trial=3, replicate=1, epoch=8, at=2.75, metrics=SCORES),
    FinalistTrained(trial=3, replicate=1, seed=17, epochs=8, metrics=SCORES, sha256="e"),
    FinalistTrained(trial=4, replicate=0, seed=18, failed="the loss is not finite"),
    LookTaken(look=2, champions={"best-id": 3}, user="ann", host="lab", reason="a new split"),
    LookTaken(look=3, row={"look": 3, "champions": {"best-id": {"trial": 3}}}),
    LookDone(look=3, row={"look": 3}, results={"seeds": {"best-id": 2}}),
    AliasMoved(
        moved=3.5, model="m", alias="best-id", version="2", trial=3, run="trial/0003", reason="r"
    ),
]


def as_stored(event: Event) -> dict[str, Any]:
    return dict(json.loads(json.dumps(event.content(), allow_nan=False)))


def test_these_are_all_kinds() -> None:
    assert {type(event) for event in (*OF_TRIALS, *OF_STUDIES)} == set(get_args(Event))
    prefixes = [kind.PREFIX for kind in get_args(Event)]
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and a.startswith(b)]


@pytest.mark.parametrize("event", OF_TRIALS, ids=lambda e: type(e).__name__)
def test_an_event_of_a_trial_is_read_as_it_was_written(event: Event) -> None:
    assert trial_event(event.key, as_stored(event)) == event


@pytest.mark.parametrize("event", OF_STUDIES, ids=lambda e: type(e).__name__)
def test_an_event_of_a_study_is_read_as_it_was_written(event: StudyEvent) -> None:
    study = SearchStudy(study_file().search_spec(), InMemoryStorage())
    study.append(event)
    assert study_events(study.optuna.user_attrs, type(event)) == [event]


def test_a_number_that_is_not_finite_is_stored_as_its_name() -> None:
    event = TeacherTrained(role="id", metrics={"a": float("nan"), "b": float("-inf")})
    read = TeacherTrained.read("teacher:0001", as_stored(event))
    assert str(read.metrics) == str(event.metrics)


def test_events_of_one_kind_come_in_their_order() -> None:
    study = SearchStudy(study_file().search_spec(), InMemoryStorage())
    for number in range(12):
        study.append(TeacherTrained(role="id", digest=str(number)))
        study.append(ChampionsChosen(by="search", champions={}, trials=number))
    held = study.optuna.user_attrs
    assert [e.digest for e in study_events(held, TeacherTrained)] == [str(n) for n in range(12)]
    assert teachers_of(held)["id"].digest == "11"
    chosen = champions_of(held, "search")
    assert chosen is not None
    assert chosen.trials == 11
    assert champions_of(held, "finalists") is None


def test_an_event_that_happens_again_after_a_kill_is_kept_as_it_was_first_stored() -> None:
    first = SearchStudy(study_file().search_spec(), InMemoryStorage())
    epochs = [
        FinalistEpochEnded(
            trial=0, replicate=1, epoch=n, at=float(n), metrics={"val_id/miou": 1.0}
        )
        for n in (1, 2)
    ]
    first.append(epochs[0])
    again = SearchStudy(first.spec, first.optuna._storage)
    for event in (replace(epochs[0], at=9.0), epochs[1]):
        again.append(event)
    held = again.optuna.user_attrs
    assert study_events(held, FinalistEpochEnded) == epochs
    assert not list(breaks([], held))


def test_an_event_is_stored_without_reading_those_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = SearchStudy(study_file().search_spec(), InMemoryStorage())
    with monkeypatch.context() as unreadable:
        unreadable.setattr(InMemoryStorage, "get_study_user_attrs", lambda *_: pytest.fail("read"))
        for digest in ("a", "b"):
            study.append(TeacherTrained(role="id", digest=digest))
    held = study.optuna.user_attrs
    assert [event.digest for event in study_events(held, TeacherTrained)] == ["a", "b"]
    assert not list(breaks([], held))


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> SmallStudy:
    """A study that was searched with tracking off."""
    return make_study(tmp_path, tiny_dataset)


def test_trials_and_study_share_one_order(study: SmallStudy) -> None:
    opened = study.open()
    for event in OF_STUDIES[2:]:
        opened.append(event)
    again = study.open()  # another driver goes on where the first one stopped
    again.append(ChampionsChosen(by="search", champions={}, trials=3))
    trials, attributes = again.views(), again.optuna.user_attrs
    found = events(trials, attributes)
    assert [event.stamp.place for event in found] == list(range(1, len(found) + 1))
    assert [event.number for event in found[:3]] == [None, None, None], "launch, then teachers"
    assert not list(breaks(trials, attributes))
    assert "order" not in {row.check for row in examine(study.path).findings}


def changed_commit(content: dict[str, Any]) -> None:
    content["environment"]["git_commit"] = "another"


def changed_time(content: dict[str, Any]) -> None:
    content["begun"] += 1.0


@pytest.mark.parametrize("change", [changed_commit, changed_time])
def test_a_changed_launch_is_found(
    study: SmallStudy, change: Callable[[dict[str, Any]], None]
) -> None:
    opened = study.open()
    content = opened.optuna.user_attrs["launch:0001"]
    change(content)
    opened.note("launch:0001", content)
    (row,) = examine(study.path).findings
    assert (row.check, row.fixable) == ("order", False)
    assert row.what.startswith("the study: 'launch:0001'")
    (difference,) = replay(opened.optuna).differences
    assert str(difference).startswith("the study: launch:0001")


def test_a_study_without_tracking_says_what_code_made_it(study: SmallStudy) -> None:
    (launch,) = read_launches(study.open().optuna.user_attrs)
    assert launch.environment == environment()
    rows = provenance(open_snapshot(study.path)).rows
    (made,) = [text for name, text in rows if name.startswith("launch of")]
    assert made == str(environment())
    assert f"commit {environment().git_commit[:12]}" in made
    assert "beware" not in dict(rows)


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1])
def test_a_study_of_another_schema_is_refused(study: SmallStudy, schema: int) -> None:
    study.open().note("schema", schema)
    for open_it in (lambda: open_study(locate(study.path)), study.open):
        with pytest.raises(NoStudyError, match=f"stored in version {schema}.*another name"):
            open_it()
    with pytest.raises(NoStudyError, match=f"stored in version {schema}"):
        open_snapshot(study.path)

    def stored() -> dict[str, Any]:
        return dict(optuna.load_study(study_name=study.file.name, storage=study.url).user_attrs)

    before = stored()
    with (
        pytest.raises(NoStudyError, match=f"stored in version {schema}"),
        lease(study.url, study.file.name, signs=[1.0, 1.0]),
    ):
        pytest.fail("a driver took it over")
    assert stored() == before, "a study that is refused is left alone"
