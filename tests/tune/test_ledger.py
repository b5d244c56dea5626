"""The ledger itself: rows are counted, never lost, and a further look needs its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.study.ledger import (
    LEDGER,
    Evaluated,
    LedgerError,
    Look,
    append_look,
    check_look,
    read_looks,
)

LINE = '{"look": 1}\n'
ROOT = Path(__file__).parents[2]


def look(number: int, reason: str | None = None) -> Look:
    return Look(
        look=number,
        time="2026-01-01T00:00:00+00:00",
        user="ann",
        host="box",
        study="quick",
        champions={"best-id": Evaluated(trial=3, students={"trials/0003": "ab"})},
        teachers={"id": "cd", "ood": "ef"},
        dataset="01",
        sealed={"sealed/moments.parquet": "23"},
        version="0.1.0",
        git_commit="45",
        git_dirty="false",
        reason=reason,
    )


def test_rows_are_appended_and_read_back(tmp_path: Path) -> None:
    assert read_looks(tmp_path) == []
    rows = [look(1), look(2, "a line\nbroken, a brace } and a ü")]
    for number, row in enumerate(rows, start=1):
        append_look(tmp_path, row)
        assert read_looks(tmp_path) == rows[:number]
    assert (tmp_path / LEDGER).read_bytes().count(b"\n") == 2


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
    append_look(tmp_path, look(1))
    append_look(tmp_path, look(2, "why"))
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


@given(st.text(min_size=1))
def test_any_reason_is_kept_as_it_is(reason: str) -> None:
    row = look(2, reason)
    assert Look.model_validate_json(row.model_dump_json()) == row
    assert row.title == f"this is look 2: {reason}"


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
