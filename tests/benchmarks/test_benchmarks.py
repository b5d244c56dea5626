"""Every benchmark runs, of as little work as possible; nothing is said of time."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

from benchmarks.__main__ import NAMES
from benchmarks.measure import Turns, in_turns
from benchmarks.page import write_page
from benchmarks.rows import Aim, row

KEYS = ("name", "case", "ratio", "spread", "aim", "holds")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_prints_a_line_of_json_a_case(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", name, "--json", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows
    for told in rows:
        assert tuple(told)[: len(KEYS)] == KEYS
        assert told["name"] == name
        low, high = told["spread"]
        assert low <= told["ratio"] <= high
        assert all(math.isfinite(figure) for figure in (low, told["ratio"], high))
    cases = [told["case"] for told in rows]
    assert len(set(cases)) == len(cases)
    assert any(told["aim"] for told in rows)


@pytest.mark.parametrize(
    ("at", "figures", "holds"),
    [(">=", [4.0, 5.0, 9.0], True), (">=", [5.0, 4.0, 4.0], False), ("<=", [0.2], True)],
)
def test_an_aim_is_held_by_the_median(at: str, figures: list[float], holds: bool) -> None:
    bound = 5.0 if at == ">=" else 0.2
    told = row("made", "up", figures, aim=Aim(at=at, bound=bound))  # type: ignore[arg-type]
    assert told.holds is holds
    assert told.facts()["holds"] is holds


def test_both_ways_are_measured_in_turns_after_one_warm_run_each() -> None:
    ran: list[str] = []
    turns = in_turns(lambda: ran.append("b"), lambda: ran.append("o"), repeats=2)
    assert "".join(ran) == "bo" + "bo" + "ob"
    assert len(turns.baseline) == len(turns.ours) == 2


def test_ratios_are_taken_turn_by_turn() -> None:
    assert Turns(baseline=[6.0, 8.0], ours=[2.0, 1.0]).ratios == [3.0, 8.0]


def test_the_page_shows_every_row_and_says_which_aim_is_missed(tmp_path: Path) -> None:
    missed = row("made", "slow", [1.0], aim=Aim(at=">=", bound=3), note="bytes moved")
    held = row("made", "fast", [4.0, 6.0], aim=Aim(at=">=", bound=3))
    write_page([missed, held], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| `made` | slow | 1 x | 1 to 1 | 1 | cpu | >= 3 | **no** |" in page
    assert "| `made` | fast | 5 x | 4 to 6 | 2 | cpu | >= 3 | yes |" in page
    assert "- `made`, slow: bytes moved." in page
