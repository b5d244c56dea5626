"""The ledger itself: rows are counted, never lost, and a further look needs its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.study.events import LookDone, LookTaken
from tune.study.ledger import (
    LEDGER,
    Evaluated,
    LedgerError,
    Look,
    check_look,
    is_copy,
    looks_of,
    read_looks,
    write_looks,
)

LINE = '{"look": 1}\n'
ROOT = Path(__file__).parents[2]


def look(number: int, reason: str | None = None, **more: Any) -> Look:
    facts: dict[str, Any] = {
        "look": number,
        "time": "2026-01-01T00:00:00+00:00",
        "user": "ann",
        "host": "box",
        "study": "quick",
        "champions": {"best-id": Evaluated(trial=3, students={"trials/0003": "ab"})},
        "teachers": {"id": "cd", "ood": "ef"},
        "dataset": "01",
        "sealed": {"sealed/moments.parquet": "23"},
        "version": "0.1.0",
        "git_commit": "45",
        "git_dirty": "false",
        "reason": reason,
    }
    return Look(**{**facts, **more})


def events_of(*looks: LookTaken | LookDone) -> dict[str, Any]:
    return {event.key: event.content() for event in looks}


def row(number: int, **more: Any) -> dict[str, Any]:
    return look(number, **more).model_dump(mode="json")


def test_rows_are_written_and_read_back(tmp_path: Path) -> None:
    assert read_looks(tmp_path) == []
    rows = [look(1), look(2, "a line\nbroken, a brace } and a ü", state="begun")]
    write_looks(tmp_path, rows)
    assert read_looks(tmp_path) == rows
    assert (tmp_path / LEDGER).read_bytes().count(b"\n") == 2


def test_the_looks_of_a_study_are_its_events(tmp_path: Path) -> None:
    begun, done = row(1, state="begun"), {**row(1), "time": "2026-01-02T00:00:00+00:00"}
    held = events_of(LookTaken(look=1, row=begun))
    assert looks_of(tmp_path, held) == [look(1, state="begun")]
    held |= events_of(LookDone(look=1, row=done, results={}))
    assert looks_of(tmp_path, held) == [Look.model_validate(done)]
    with pytest.raises(LedgerError, match="look 1 is no row of a ledger; restore"):
        looks_of(tmp_path, events_of(LookTaken(look=1, row={"look": 1})))


OLD = LookTaken(look=1, champions={"best-id": 3}, user="ann", host="box")


def test_a_row_that_an_earlier_refkd_left_to_the_file_is_read_there(tmp_path: Path) -> None:
    written = {name: value for name, value in row(1).items() if name != "state"}
    (tmp_path / LEDGER).write_text(json.dumps(written) + "\n", encoding="utf-8")
    held = events_of(OLD, LookTaken(look=2, row=row(2, reason="why")))
    looks = looks_of(tmp_path, held)
    assert looks == [look(1), look(2, "why")]
    assert is_copy(tmp_path, looks[:1])
    assert not is_copy(tmp_path, looks)


@pytest.mark.parametrize(
    ("rows", "said"),
    [([], "holds no row for look 1"), ([look(1, user="bob")], "holds another row for look 1")],
)
def test_such_a_row_that_is_gone_or_edited_is_refused(
    tmp_path: Path, rows: list[Look], said: str
) -> None:
    write_looks(tmp_path, rows)
    with pytest.raises(LedgerError, match=f"{said}.*restore"):
        looks_of(tmp_path, events_of(OLD))


def test_a_file_with_rows_that_the_study_lacks_is_no_copy_to_write_again(tmp_path: Path) -> None:
    write_looks(tmp_path, [look(1), look(2)])
    assert is_copy(tmp_path, [look(1), look(2)])
    assert not is_copy(tmp_path, [look(1), look(2, "edited")])
    assert not is_copy(tmp_path, [look(1), look(2), look(3)])
    with pytest.raises(LedgerError, match="holds 2 rows, but the study knows of 1 looks; restore"):
        is_copy(tmp_path, [look(1)])
    with pytest.raises(LedgerError, match="the end of look 2, which the study lacks; restore"):
        is_copy(tmp_path, [look(1), look(2, state="begun")])
    write_looks(tmp_path, [look(1), look(2, state="begun")])
    assert not is_copy(tmp_path, [look(1), look(2)])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda rows: rows[:-1], id="torn before its newline"),
        pytest.param(lambda rows: rows[:-20], id="torn"),
        pytest.param(lambda rows: rows + LINE.encode(), id="another row"),
        pytest.param(lambda rows: rows.split(b"\n", 1)[1], id="the first row is gone"),
        pytest.param(lambda rows: rows + rows, id="rows twice"),
        pytest.param(lambda rows: b"\n" + rows, id="an empty line"),
    ],
)
def test_a_ledger_whose_looks_cannot_be_counted_is_refused(tmp_path: Path, damage: Any) -> None:
    write_looks(tmp_path, [look(1), look(2, "why")])
    path = tmp_path / LEDGER
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LedgerError, match=r"ledger.jsonl:\d: is no whole row"):
        read_looks(tmp_path)


@pytest.mark.parametrize(
    ("looks", "again", "reason", "said"),
    [
        (0, False, None, None),
        (0, True, None, "not been looked at yet"),
        (0, True, "why", "not been looked at yet"),
        (0, False, "why", "not been looked at yet"),
        (1, False, None, "looked at once, last by ann on box"),
        (1, True, None, "--again --reason TEXT"),
        (1, False, "why", "--again --reason TEXT"),
        (1, True, "  ", "--again --reason TEXT"),
        (2, False, None, "looked at 2 times"),
        (1, True, "why", None),
        (2, True, "why", None),
    ],
)
def test_a_further_look_needs_both(
    looks: int, again: bool, reason: str | None, said: str | None
) -> None:
    rows = [look(number + 1) for number in range(looks)]
    if said is None:
        check_look(rows, study="quick", again=again, reason=reason)
    else:
        with pytest.raises(LedgerError, match=said):
            check_look(rows, study="quick", again=again, reason=reason)


@pytest.mark.parametrize(
    ("done", "again", "reason", "said"),
    [
        (0, False, None, None),
        (0, True, "why", "not been looked at yet"),
        (1, False, None, None),
        (1, True, "why", None),
    ],
)
def test_a_look_that_was_cut_off_is_taken_again_without_a_reason(
    done: int, again: bool, reason: str | None, said: str | None
) -> None:
    rows = [*(look(number + 1) for number in range(done)), look(done + 1, state="begun")]
    if said is None:
        check_look(rows, study="quick", again=again, reason=reason)
    else:
        with pytest.raises(LedgerError, match=said):
            check_look(rows, study="quick", again=again, reason=reason)


@given(st.text(min_size=1))
def test_any_reason_is_kept_as_it_is(reason: str) -> None:
    kept = look(2, reason)
    assert Look.model_validate_json(kept.model_dump_json()) == kept
    assert kept.title == f"this is look 2: {reason}"


def test_the_first_look_has_no_reason() -> None:
    assert look(1).title == "this is look 1"


def test_one_door_alone_opens_what_is_sealed() -> None:
    found = [
        str(path.relative_to(ROOT))
        for package in ("refkd", "tune")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "refkd.data.sealed" in path.read_text(encoding="utf-8")
    ]
    assert found == ["tune/results/sealed_roles.py"]
