"""Failed trials that are tried again: which may be, under which number, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from support.recorded_curves import TABLE, fill, study_file
from support.small_study import SmallStudy, make_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.audit.replay import replay
from tune.cli import app
from tune.ending.exits import ExitCode
from tune.study.event_log import breaks
from tune.study.retries import carry_out, newest, retry
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot
from tune.study.storage import close_storage
from tune.study.summary import summarise
from tune.study.view import FOREIGN

TRIALS = 8
FAILED = [3, 7]
"""What `fill` lets fail."""


def launched(storage: Any, **changes: Any) -> SearchStudy:
    settings = {"budget": {"trials": TRIALS}, "pruning": {"type": "stop"}, **changes}
    study = SearchStudy(study_file(**settings).search_spec(), storage)
    study.note("budget", study.spec.budget.model_dump(mode="json"))
    study.begin_launch()
    carry_out(study)
    return study


@pytest.fixture
def searched() -> SearchStudy:
    study = launched(InMemoryStorage())
    fill(study)
    assert [v.number for v in study.views() if v.state == "FAIL"] == FAILED
    return study


def trained(study: SearchStudy, **changes: Any) -> SearchStudy:
    """Search on with curves of which none fails."""
    again = launched(study._storage, **changes)
    while (ask := again.ask()) is not None:
        curve = TABLE.nearest(ask.values)
        epochs = range(1, again.spec.epochs + 1)
        if any(again.record(ask.number, n, curve.at(n)) == "stop" for n in epochs):
            again.prune(ask.number)
        else:
            again.complete(ask.number, curve.at(epochs[-1]))
    return again


def assert_whole(study: SearchStudy) -> None:
    assert replay(study.optuna).differences == []
    assert list(breaks(study.views(), study.optuna.user_attrs)) == []


def test_what_failed_is_tried_again_with_its_values_beyond_the_budget(
    searched: SearchStudy,
) -> None:
    assert retry(searched, []) == {3: 8, 7: 9}
    assert searched.left() == 2
    study = trained(searched)
    views = study.views()
    assert len(views) == TRIALS + 2
    assert study.left() == 0
    for failed, new in ((3, 8), (7, 9)):
        assert views[new].values == views[failed].values
        assert views[new].state in ("COMPLETE", "PRUNED")
        assert views[failed].state == "FAIL"
        assert newest(views, failed) == new
    summary = summarise("engine", views, study.optuna.user_attrs)
    assert (summary.ended, summary.wanted) == (TRIALS + 2, TRIALS + 2)
    assert_whole(study)


def test_one_trial_alone_is_tried_again_where_it_is_named(searched: SearchStudy) -> None:
    assert retry(searched, [7]) == {7: 8}
    assert searched.left() == 1
    assert retry(trained(searched), []) == {3: 9}


def test_asked_twice_it_waits_once(searched: SearchStudy) -> None:
    assert retry(searched, [3, 3]) == retry(searched, [3]) == {3: 8}
    assert retry(searched, []) == {7: 9}
    assert len(searched.views()) == TRIALS + 2


def test_one_that_fails_again_is_tried_again_by_its_first_number(searched: SearchStudy) -> None:
    assert retry(searched, [3]) == {3: 8}
    again = launched(searched._storage)
    ask = again.ask()
    assert ask is not None
    again.fail(ask.number, "made to fail")
    assert retry(again, [3]) == {3: 9}
    study = trained(again)
    assert newest(study.views(), 3) == newest(study.views(), 8) == 9
    with pytest.raises(RefKDError, match="trial 3, retried as 9, is "):
        retry(study, [3])
    assert_whole(study)


@pytest.mark.parametrize("written", range(3))
def test_a_process_that_dies_between_event_and_queue_loses_nothing(
    written: int, searched: SearchStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, done = searched.queue.put, list[int]()

    def die(*given: Any) -> None:
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(written)
        put(*given)

    monkeypatch.setattr(searched.queue, "put", die)
    if written < len(FAILED):
        with pytest.raises(KeyboardInterrupt):
            retry(searched, [])
    else:
        retry(searched, [])
    study = trained(searched)
    assert len(study.views()) == TRIALS + 2
    assert {newest(study.views(), number) for number in FAILED} == {8, 9}
    assert_whole(study)


@pytest.mark.filterwarnings("ignore:Fixed parameter")  # Optuna's, that it is out of range
def test_values_that_have_left_the_space_are_kept(searched: SearchStudy) -> None:
    retry(searched, [3])
    narrow = {"float": [0.5, 0.6], "log": True}
    space = {"distill.lambda_id": narrow, "distill.lambda_ood": narrow}
    study = trained(searched, space=space)
    assert study.views()[8].values == study.views()[3].values
    assert_whole(study)


def test_a_trial_retried_before_the_budget_is_used_up_takes_nothing_of_it(
    searched: SearchStudy,
) -> None:
    retry(searched, [])
    study = trained(searched, budget={"trials": TRIALS + 4})
    assert len(study.views()) == TRIALS + 4 + len(FAILED)


def test_what_is_none_of_the_searchs_or_has_not_failed_is_refused(searched: SearchStudy) -> None:
    study = searched.optuna
    study.enqueue_trial({"distill.lambda_id": "much"})
    other = study.ask()
    study.tell(other, state=study.trials[3].state)
    views = launched(searched._storage).views()
    assert views[-1].state == FOREIGN
    for number, words in {
        8: "trial 8 is none of the search's: another program",
        2: f"trial 2 is {views[2].state}: only a failed trial",
        11: "the study has no trial 11: it has 9",
    }.items():
        with pytest.raises(RefKDError, match=words):
            retry(searched, [3, number])
    assert len(searched.views()) == 9, "nothing is stored where one is refused"
    assert retry(searched, []) == {3: 9, 7: 10}


# The command ------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Any, tiny_dataset: Dataset) -> SmallStudy:
    return make_study(tmp_path, tiny_dataset)


def refkd(*words: object) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_the_command_says_what_goes_on_as_what_and_status_shows_it(small: SmallStudy) -> None:
    said = refkd("retry", small.path, 2)
    assert f"trial 2 goes on as trial 3 train them: refkd search {small.path}" in said
    shown = refkd("status", small.path)
    assert "trial 2 failed: the loss is not finite (retried as 3)" in shown
    assert "trial 3 retries 2" in shown
    assert open_snapshot(small.path).trials_left == 1


def test_the_command_says_where_nothing_has_failed(small: SmallStudy) -> None:
    refkd("retry", small.path)
    assert refkd("retry", small.path) == "no trial has failed"
    assert refkd("retry", small.path, "--json") == "[]"


def test_the_doctor_finds_nothing_wrong_with_a_retried_trial(small: SmallStudy) -> None:
    before = refkd("doctor", small.path)
    refkd("retry", small.path)
    assert refkd("doctor", small.path) == before
    close_storage(small.open().optuna._storage)


def test_a_search_of_which_nothing_completed_says_so_by_its_code(small: SmallStudy) -> None:
    (small.file.folder / "study.db").unlink()
    study = small.open()
    study.begin_launch()
    while (ask := study.ask()) is not None:
        study.fail(ask.number, "the loss is not finite")
    close_storage(study.optuna._storage)
    result = CliRunner().invoke(app, ["search", str(small.path)])
    assert result.exit_code == ExitCode.NONE_COMPLETE, result.output
    assert f"refkd retry {small.path}" in " ".join(result.output.split())
    refkd("retry", small.path)
    assert open_snapshot(small.path).trials_left == small.file.budget.trials
