"""`python -m benchmarks NAME [--json] [--smoke]`; `all` runs every one and writes the page.

`front --tables DIR` judges methods of search on the tables of learning curves in a folder, and
prints a table in Markdown.

`page` writes it of the last outcome of each, whatever code that is of.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.rows import Row
    from benchmarks.run import Outcome

NAMES = (
    "overhead",
    "outage",
    "workers",
    "startup",
    "simulator",
    "scale",
    "front",
    "noise",
    "evaluate",
    "prepare",
    "memory",
    "knowledge",
    "input",
    "distill_cost",
    "student_epoch",
)
"""Every benchmark: a module of this package with `run(smoke)`."""


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "name", choices=[*NAMES, "all", "page"], metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON a case")
    parser.add_argument("--smoke", action="store_true", help="as little work as possible")
    parser.add_argument("--tables", type=Path, help="front: a folder of *.npz")
    parser.add_argument("--seeds", type=int, default=20, help="front: searches of each table")
    parser.add_argument("--methods", nargs="*", default=[], help="front: some, else all")
    parser.add_argument(
        "--neps", type=Path, metavar="PYTHON", help="front: of an environment with NePS, for primo"
    )
    asked = parser.parse_args()
    _one_thread()
    if asked.tables is not None:
        if asked.name != "front":
            parser.error("--tables goes with front")
        _judge(asked)
        return

    from benchmarks.kept import code_version, commit, keep
    from benchmarks.run import run, told

    def tell(row: Row) -> None:
        print(json.dumps(row.facts()) if asked.json else told(row), flush=True)

    if asked.name == "page":
        outcomes = _page()
    elif asked.name != "all":
        outcomes = [run(asked.name, tell, smoke=asked.smoke)]
        outcomes[0].commit = commit()
        if not asked.smoke:
            keep(outcomes[0], code_version())
    else:
        outcomes = _all(tell, smoke=asked.smoke)
    failed = [f"{o.name} failed: {o.failure}" for o in outcomes if o.failure]
    if failed:
        sys.exit("\n".join(failed))


def _judge(asked: argparse.Namespace) -> None:
    """Print what methods of search are worth on the tables of a folder."""
    from benchmarks.judge import METHODS, PRIMO, RAY, Played, judge, tables_in, told

    known = [*METHODS, RAY, PRIMO]
    unknown = [name for name in asked.methods if name not in known]
    if unknown:
        sys.exit(f"no such method: {unknown[0]}; there are {', '.join(known)}")
    if PRIMO in asked.methods and asked.neps is None:
        sys.exit(f"{PRIMO} needs an environment that has NePS; name its interpreter with --neps")

    def tell(one: Played) -> None:
        print(f"{one.table}, {one.method}, seed {one.seed}: {one.area:.4f}", file=sys.stderr)

    tables = tables_in(asked.tables)
    verdicts = judge(tables, seeds=asked.seeds, methods=asked.methods, neps=asked.neps, tell=tell)
    if asked.json:
        for one in verdicts:
            print(json.dumps(one.facts()))
    else:
        print(told(verdicts))


def _all(tell: Callable[[Row], None], *, smoke: bool) -> list[Outcome]:
    """Run every benchmark and write the page, also where one fails.

    What this very code has ended already is taken from there.
    """
    from benchmarks.kept import code_version, commit, keep, kept
    from benchmarks.page import PAGE, write_page
    from benchmarks.peaks import measure_peaks
    from benchmarks.run import run

    peaks, version = measure_peaks(), code_version()
    outcomes = []
    for place, name in enumerate(NAMES, 1):
        print(f"[{place}/{len(NAMES)}] {name}", file=sys.stderr, flush=True)
        outcome = None if smoke else kept(name, version)
        if outcome is None:
            outcome = run(name, tell, smoke=smoke)
            outcome.commit = commit()
            if not smoke:
                keep(outcome, version)
        end = outcome.failure or f"{len(outcome.rows)} cases"
        print(f"      {end} in {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
        outcomes.append(outcome)
    if not smoke:
        write_page(outcomes, peaks)
        print(f"wrote {PAGE}", file=sys.stderr)
    return outcomes


def _page() -> list[Outcome]:
    """Write the page of what was measured last, unless something was never measured here."""
    from benchmarks.kept import latest
    from benchmarks.page import PAGE, write_page
    from benchmarks.peaks import measure_peaks

    outcomes = [latest(name) for name in NAMES]
    absent = ", ".join(one.name for one in outcomes if one.failure)
    if absent:
        sys.exit(f"{PAGE} stays as it is: {absent} must be measured on this machine first")
    write_page(outcomes, measure_peaks())
    print(f"wrote {PAGE}", file=sys.stderr)
    return outcomes


def _one_thread() -> None:
    """Let every library compute with one thread; before any of them is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


if __name__ == "__main__":
    main()
