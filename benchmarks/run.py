"""Running a benchmark by its name, and a row for the terminal."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from benchmarks.rows import Row


def run(name: str, *, smoke: bool) -> Iterable[Row]:
    """Yield the rows of a benchmark; with `smoke` of as little work as possible."""
    rows: Iterable[Row] = importlib.import_module(f"benchmarks.{name}").run(smoke)
    return rows


def told(row: Row) -> str:
    """Return a row as one line of text."""
    low, high = row.spread
    kept = {True: "holds", False: "MISSED", None: ""}[row.holds]
    aim = f", aim {row.aim}: {kept}" if row.aim else ""
    note = f"; {row.note}" if row.note else ""
    return (
        f"{row.name}, {row.case}: {row.ratio:.3g} {row.unit} [{low:.3g}, {high:.3g}]"
        f" ({row.clock}, {row.repeats} times){aim}{note}"
    )
