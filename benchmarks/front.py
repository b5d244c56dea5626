"""How much faster a search finds a front than others, on public functions of two objectives."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bbob import FUNCTIONS
from benchmarks.judge import BASE, RAY, Played, Verdict, judge
from benchmarks.rows import Aim, Row, row

OTHERS = {
    "random": ("random, no pruning", None),
    "tpe": ("TPE, no pruning", None),
    BASE: ("multi-objective ASHA", Aim(at=">=", bound=1.18)),
    RAY: ("Ray's ASHA on the mean of both", None),
}
"""What each method is called, and how many times as much regret it should have."""


def run(smoke: bool) -> Iterator[Row]:
    """Yield the area under the regret of others over that of the default, a figure a function."""
    functions, seeds = (FUNCTIONS[:1], 1) if smoke else (FUNCTIONS, 5)
    played: list[Played] = []
    verdicts = judge(functions, seeds=seeds, methods=[*OTHERS, "default"], tell=played.append)
    by_name = {one.method: one for one in verdicts}
    for method, (case, aim) in OTHERS.items():
        yield _against(by_name[method], by_name["default"], case, aim, seeds)


def _against(other: Verdict, own: Verdict, case: str, aim: Aim | None, seeds: int) -> Row:
    ratios = [other.by_table[name] / own.by_table[name] for name in own.by_table]
    note = (
        f"mean regret {other.mean:.3f} against {own.mean:.3f}; a figure a function of bbob-biobj, "
        f"{seeds} searches each of 20 whole trainings"
    )
    return row("front", f"{case} / ours", ratios, clock="none", aim=aim, note=note)
