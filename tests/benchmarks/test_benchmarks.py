"""Every benchmark runs, of as little work as possible; nothing is said of time."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.project import ROOT

from benchmarks.__main__ import NAMES, main
from benchmarks.kept import keep, kept, latest
from benchmarks.measure import Turns, in_turns
from benchmarks.page import BY_HAND, write_page
from benchmarks.peaks import Peaks, measure_peaks
from benchmarks.rows import Aim, Row, row
from benchmarks.run import Outcome, run
from benchmarks.workers import epochs_a_second
from tune.study.view import STAMP, TrialView

MINUTES = {"outage", "overhead", "student_epoch", "workers"}
"""Those that take whole searches, or compile, even with as little work as possible."""
KEYS = ("name", "case", "ratio", "spread", "aim", "holds")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.nightly if n in MINUTES else pytest.mark.system)
        for n in NAMES
    ],
)
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


def test_the_page_shows_every_row_and_says_why_an_aim_is_missed(tmp_path: Path) -> None:
    missed = row("made", "slow", [1.0], aim=Aim(at=">=", bound=3), note="bytes moved")
    held = row("made", "fast", [4.0, 6.0], aim=Aim(at=">=", bound=3))
    outcomes = [
        Outcome(
            name="made",
            rows=[missed, held],
            seconds=61.2,
            why="The bus\nis full.",
            commit="abc1234",
        ),
        Outcome(name="gone", failure="ValueError: no server"),
    ]
    write_page(outcomes, Peaks(gflops=99.6, gbytes=12.34), tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    for line in (
        "| `made` | slow | 1 x | 1 to 1 | 1 | cpu | >= 3 | **no** |",
        "| `made` | fast | 5 x | 4 to 6 | 2 | cpu | >= 3 | yes |",
        "- `made`, slow: bytes moved.",
        "- `made`: slow (1, aim >= 3). The bus is full.",
        "- `gone` failed: ValueError: no server.",
        "| `python -m benchmarks made` | 61 s | abc1234 |",
    ):
        assert line in page.splitlines()
    assert "100 GFLOP/s" in page
    assert "12.3 GB/s" in page


def test_a_page_without_all_figures_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.__main__.NAMES", [*NAMES, "never"])
    monkeypatch.setattr("benchmarks.page.PAGE", ROOT / "absent" / "page.md")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "page"])
    with pytest.raises(SystemExit, match=r"stays as it is: .*never must be measured"):
        main()


def test_what_is_written_by_hand_stays_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# Old\n\ngone\n\n{BY_HAND}\n\nA table.\n\n## More\n\nEnd.\n")
    for _ in range(2):
        write_page([Outcome(name="made", seconds=1)], Peaks(gflops=1, gbytes=1), path)
        page = path.read_text(encoding="utf-8")
        assert page.endswith(f"\n\n{BY_HAND}\n\nA table.\n\n## More\n\nEnd.\n")
        assert page.count(BY_HAND) == 1
        assert "gone" not in page


def test_a_benchmark_that_fails_says_so_and_keeps_its_rows() -> None:
    def run_some(_: bool) -> Iterator[Row]:
        yield row("made", "first", [1.0])
        raise ValueError("no\nserver")

    made = ModuleType("benchmarks.made")
    made.run, made.WHY = run_some, "A reason."  # type: ignore[attr-defined]
    told: list[Row] = []
    outcome = run("made", told.append, smoke=True, load=lambda _: made)
    assert outcome.failure == "ValueError: no server"
    assert outcome.rows == told != []
    assert outcome.why == "A reason."


def test_both_peaks_are_measured() -> None:
    peaks = measure_peaks(side=8, size=1 << 12)
    assert peaks.gflops > 0
    assert peaks.gbytes > 0


def test_the_rate_of_workers_counts_what_was_stored_while_all_were_at_work() -> None:
    def trained(number: int, first: float, ended: float) -> TrialView:
        times = {"epoch:0001": first, "epoch:0002": first + 1, "ended": ended}
        return TrialView(
            number=number,
            state="COMPLETE",
            attributes={key: {STAMP: [0, time, "", 1]} for key, time in times.items()},
        )

    views = [trained(0, 10.0, 11.5), trained(1, 10.5, 12.0), trained(2, 13.5, 15.0)]
    assert epochs_a_second(views, workers=1) == 5 / (15.0 - 10.0)
    assert epochs_a_second(views, workers=2) == 2 / (12.0 - 10.5)


def test_an_outcome_is_kept_for_the_code_that_it_is_of(tmp_path: Path) -> None:
    held = row("made", "fast", [4.0, 6.0], aim=Aim(at=">=", bound=3), note="why")
    bare = row("made", "plain", [1.0])
    outcome = Outcome(name="made", rows=[held, bare], seconds=2.0, why="A reason.")
    keep(outcome, "abc", tmp_path)
    assert kept("made", "abc", tmp_path) == outcome
    for name, version in (("made", "other"), ("made", None), ("gone", "abc")):
        assert kept(name, version, tmp_path) is None
    assert latest("made", tmp_path) == outcome
    assert latest("gone", tmp_path).failure == "not measured yet"
    keep(Outcome(name="gone", failure="ValueError: no server"), "abc", tmp_path)
    keep(Outcome(name="changed"), None, tmp_path)
    assert kept("gone", "abc", tmp_path) is None
    assert kept("changed", None, tmp_path) is None
