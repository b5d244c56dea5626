"""Running benchmarks by their names, one after the other, and a row for the terminal."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

from benchmarks.measure import wall_seconds
from benchmarks.rows import Row


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What became of a benchmark."""

    name: str
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    """Of wall time."""
    failure: str | None = None
    """The error that ended it early; None where it ran to its end."""
    commit: str | None = None
    """Of the code that was measured; None where it had changes that were not committed."""
    why: str | None = None
    """Its module's `WHY`: the reason for an aim that it misses."""


def found(name: str) -> ModuleType:
    """Return the module of a benchmark."""
    return importlib.import_module(f"benchmarks.{name}")


def run(
    name: str,
    tell: Callable[[Row], None],
    *,
    smoke: bool,
    load: Callable[[str], ModuleType] = found,
) -> Outcome:
    """Run a benchmark, whatever it raises; `smoke` asks for as little work as possible."""
    outcome, begun = Outcome(name=name), wall_seconds()
    try:
        module = load(name)
        outcome.why = getattr(module, "WHY", None)
        for row in module.run(smoke):
            outcome.rows.append(row)
            tell(row)
    except Exception as error:
        traceback.print_exc()
        outcome.failure = " ".join(f"{type(error).__name__}: {error}".split())
    outcome.seconds = wall_seconds() - begun
    return outcome


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
