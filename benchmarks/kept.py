"""Outcomes of benchmarks on disk: `all` goes on where it was cut off, `page` takes all of them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rows import Aim, Row
from benchmarks.run import Outcome
from refkd.files import write_json

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs" / "benchmarks"
CODE = ("refkd", "tune", "benchmarks", "requirements.lock")
"""What a figure depends on; documentation and tests may change."""


def code_version() -> str | None:
    """Return what names the committed code; None where it has changes that are not committed."""
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", *CODE], cwd=ROOT, check=False
    )
    trees = [f"HEAD:{name}" for name in CODE]
    found = subprocess.run(
        ["git", "rev-parse", *trees], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if changed.returncode or found.returncode:
        return None
    return " ".join(name[:12] for name in found.stdout.split())


def commit() -> str | None:
    """Return the commit of the code; None where it has changes that are not committed."""
    if code_version() is None:
        return None
    command = ["git", "log", "-1", "--format=%h", "--", *CODE]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def keep(outcome: Outcome, version: str | None, folder: Path = FOLDER) -> None:
    """Write an outcome that is whole, of code that has a name."""
    if version is not None and outcome.failure is None:
        facts = {"version": version, "outcome": asdict(outcome)}
        write_json(folder / f"{outcome.name}.json", facts)


def kept(name: str, version: str | None, folder: Path = FOLDER) -> Outcome | None:
    """Return the outcome of a benchmark that this very code has ended; None without one."""
    facts = _facts(name, folder)
    if version is None or facts is None or facts["version"] != version:
        return None
    return _outcome(facts["outcome"])


def latest(name: str, folder: Path = FOLDER) -> Outcome:
    """Return the outcome of a benchmark of whatever code; one that says so where there is none."""
    facts = _facts(name, folder)
    return (
        Outcome(name=name, failure="not measured yet")
        if facts is None
        else _outcome(facts["outcome"])
    )


def _facts(name: str, folder: Path) -> dict[str, Any] | None:
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _outcome(told: dict[str, Any]) -> Outcome:
    return Outcome(**{**told, "rows": [_row(row) for row in told["rows"]]})


def _row(told: dict[str, Any]) -> Row:
    aim = told["aim"] and Aim(**told["aim"])
    return Row(**{**told, "aim": aim, "spread": tuple(told["spread"])})
