"""Trials that were removed from a storage, edited there or ended: the doctor names them."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from support.small_study import SmallStudy, make_study

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.audit.examine import examine
from tune.study.launch import WORKED
from tune.study.snapshot import open_snapshot
from tune.study.storage import close_storage

TABLES = (
    *("trial_values", "trial_params", "trial_user_attributes", "trial_system_attributes"),
    "trial_intermediate_values",
)


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> SmallStudy:
    made = make_study(tmp_path, tiny_dataset)
    opened = made.open()
    opened.launches.number = 1
    opened.launches.touch()
    close_storage(opened.optuna._storage)
    return made


def change(study: SmallStudy, *statements: str) -> None:
    engine = create_engine(study.url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def remove(study: SmallStudy, number: int) -> None:
    change(study, *(f"DELETE FROM {t} WHERE trial_id = {number + 1}" for t in (*TABLES, "trials")))


def said(study: SmallStudy) -> list[tuple[str, str]]:
    return [(row.check, row.what) for row in examine(study.path).findings]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_removed_trial_is_named(study: SmallStudy, number: int) -> None:
    remove(study, number)
    found = said(study)
    assert ("removed", f"trial {number} is gone from the storage") in found
    assert {check for check, _ in found} <= {"removed", "order"}
    assert len(open_snapshot(study.path).summary.trials) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_study_that_has_lost_a_trial_is_not_continued(study: SmallStudy, number: int) -> None:
    remove(study, number)
    with pytest.raises(RefKDError, match=f"lost trial {number}.*restore the storage from a copy"):
        study.open()


def test_a_study_without_a_note_of_its_size_is_whole(tmp_path: Path, study: SmallStudy) -> None:
    assert open_snapshot(study.path).launches[-1].trials == 3
    change(study, f"DELETE FROM study_user_attributes WHERE key LIKE '{WORKED}%'")
    assert said(study) == []


@pytest.mark.parametrize(
    ("statement", "check", "what"),
    [
        ("UPDATE trial_params SET param_value = 0.5 WHERE trial_id = 2", "values", "trial 1"),
        ("DELETE FROM trial_params WHERE trial_id = 2", "values", "trial 1"),
        ("UPDATE trial_values SET value = 9.0 WHERE trial_id = 1", "values", "trial 0"),
        ("DELETE FROM trial_values WHERE trial_id = 1", "values", "trial 0"),
        ("UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 2", "outcome", "trial 1"),
        ("UPDATE trials SET state = 'PRUNED' WHERE trial_id = 3", "outcome", "trial 2"),
        (
            "UPDATE trial_user_attributes SET value_json = replace(value_json, 'FAIL', 'PRUNED') "
            "WHERE trial_id = 3 AND key = 'ended'",
            "order",
            "trial 2: 'ended'",
        ),
        (
            "UPDATE trial_user_attributes SET value_json = replace(value_json, '0.', '0.1') "
            "WHERE trial_id = 3 AND key = 'asked'",
            "order",
            "trial 2: 'asked'",
        ),
        (
            "DELETE FROM trial_user_attributes WHERE trial_id = 2 AND key = 'ended'",
            "outcome",
            "trial 1: another program ended it, as PRUNED",
        ),
    ],
)
def test_an_edited_trial_is_named(
    study: SmallStudy, statement: str, check: str, what: str
) -> None:
    change(study, statement)
    found = said(study)
    assert any(row[0] == check and row[1].startswith(what) for row in found), found


def test_two_edited_trials_are_both_named(study: SmallStudy) -> None:
    change(
        study,
        "UPDATE trial_user_attributes SET value_json = replace(value_json, '1.0', '1.5') "
        "WHERE key = 'epoch:0001' AND trial_id IN (1, 2)",
        "UPDATE trial_user_attributes SET value_json = replace(value_json, '11.0', '11.5') "
        "WHERE key = 'epoch:0001' AND trial_id IN (1, 2)",
    )
    named = [what.partition(":")[0] for check, what in said(study) if check == "order"]
    assert named == ["trial 0", "trial 1"]


def test_a_trial_that_another_program_ended_is_named_until_a_driver_has_noticed(
    study: SmallStudy,
) -> None:
    file = study.file.model_copy(
        update={"budget": study.file.budget.model_copy(update={"trials": 4})}
    )
    grown = type(study.open())(file.search_spec(), study.url)
    grown.begin_launch()
    ask = grown.ask()
    assert ask is not None
    other = optuna.load_study(study_name="quick", storage=study.url)
    other.tell(ask.number, state=TrialState.FAIL)
    assert ("outcome", "trial 3: another program ended it, as FAIL") in said(study)
    following = grown.ask()
    assert following is not None
    assert following.number == 4
    assert [row for row in said(study) if row[0] == "outcome"] == []
