"""`python -m benchmarks NAME [--json] [--smoke]`; `all` runs every one and writes the page."""

from __future__ import annotations

import argparse
import json
import os
import sys

NAMES = (
    "overhead",
    "outage",
    "startup",
    "simulator",
    "scale",
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
    parser.add_argument("name", choices=[*NAMES, "all"], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", action="store_true", help="print one line of JSON a case")
    parser.add_argument("--smoke", action="store_true", help="as little work as possible")
    asked = parser.parse_args()
    _one_thread()

    from benchmarks.page import PAGE, write_page
    from benchmarks.run import run, told

    rows = []
    for name in NAMES if asked.name == "all" else [asked.name]:
        for row in run(name, smoke=asked.smoke):
            print(json.dumps(row.facts()) if asked.json else told(row), flush=True)
            rows.append(row)
    if asked.name == "all" and not asked.smoke:
        write_page(rows)
        print(f"wrote {PAGE}", file=sys.stderr)


def _one_thread() -> None:
    """Let every library compute with one thread; before any of them is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


if __name__ == "__main__":
    main()
