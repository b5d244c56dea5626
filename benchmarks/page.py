"""The page of all figures: `docs/benchmarks.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.peaks import Peaks
from benchmarks.rows import Row
from benchmarks.run import Outcome
from refkd.files import replaced

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PACKAGES = ("torch", "numpy", "h5py", "ray", "optuna", "mlflow")
HEAD = """\
# Benchmarks

Each figure is measured by `python -m benchmarks NAME`; `python -m benchmarks all` measures all of
them and writes this page, `python -m benchmarks page` writes it of the last figures of each.
A figure in `x` is what a baseline takes over what refkd takes for the same work, on one thread
unless the case says otherwise. The baselines stand in `benchmarks/baselines/`. Both are measured
in turns in one process run; a figure is the median of the repeats, and the spread is their lowest
and their highest. Times of the processor (`cpu`) leave out what other users of the machine took;
`wall` stands where a figure is waiting.

"""

BY_HAND = "## Methods of search"
"""Heading of the last part of the page, which nothing here writes, and which is kept."""


def write_page(outcomes: Sequence[Outcome], peaks: Peaks, path: Path = PAGE) -> None:
    """Write all rows with machine, versions and date, the misses with their reasons."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    columns = "| benchmark | case | figure | spread | repeats | clock | aim | holds |"
    parts = [HEAD + f"{_machine()} {peaks}", columns + "\n|" + " --- |" * 8]
    parts[-1] += "".join(f"\n{_line(row)}" for row in rows)
    failures = [f"- `{o.name}` failed: {o.failure}." for o in outcomes if o.failure]
    misses = [f"- `{o.name}`: {_missed(o)}" for o in outcomes if _missed(o)]
    notes = [f"- `{row.name}`, {row.case}: {row.note}." for row in rows if row.note]
    times = [
        f"| `python -m benchmarks {o.name}` | {o.seconds:.0f} s | {o.commit or ''} |"
        for o in outcomes
    ]
    for title, lines in (
        ("What could not be measured", failures),
        ("Aims that are missed, and why", misses),
        ("What stands behind the figures", notes),
        (
            "Commands, and how long each took",
            ["| command | time | commit |", "| --- | --- | --- |", *times],
        ),
    ):
        if lines:
            parts += [f"## {title}", "\n".join(lines)]
    _, heading, rest = (path.read_text(encoding="utf-8") if path.exists() else "").partition(
        f"\n{BY_HAND}\n"
    )
    if heading:
        parts.append(f"{BY_HAND}\n{rest.rstrip()}")
    with replaced(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _missed(outcome: Outcome) -> str:
    """Return which cases miss their aims and the reason; nothing where none does."""
    missed = [row for row in outcome.rows if row.holds is False]
    cases = [f"{row.case} ({row.ratio:.3g}, aim {row.aim})" for row in missed]
    reason = " ".join((outcome.why or "No reason is known yet.").split())
    return f"{'; '.join(cases)}. {reason}" if cases else ""


def _line(row: Row) -> str:
    low, high = row.spread
    holds = {True: "yes", False: "**no**", None: ""}[row.holds]
    figure = f"{row.ratio:.3g} {row.unit}"
    aim = row.aim or ""
    return (
        f"| `{row.name}` | {row.case} | {figure} | {low:.3g} to {high:.3g} | {row.repeats} "
        f"| {row.clock} | {aim} | {holds} |"
    )


def _machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Measured on {datetime.now(UTC).date()}: {_processor()}, {os.cpu_count()} cores, "
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    """Return the processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
