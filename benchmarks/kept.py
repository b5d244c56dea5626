"""Outcomes of benchmarks on disk, so that `all` goes on where it was cut off."""

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


def keep(outcome: Outcome, version: str | None, folder: Path = FOLDER) -> None:
    """Write an outcome that is whole, of code that has a name."""
    if version is not None and outcome.failure is None:
        facts = {"version": version, "outcome": asdict(outcome)}
        write_json(folder / f"{outcome.name}.json", facts)


def kept(name: str, version: str | None, folder: Path = FOLDER) -> Outcome | None:
    """Return the outcome of a benchmark that this very code has ended; None without one."""
    path = folder / f"{name}.json"
    if version is None or not path.is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    if facts["version"] != version:
        return None
    told: dict[str, Any] = facts["outcome"]
    return Outcome(**{**told, "rows": [_row(row) for row in told["rows"]]})


def _row(told: dict[str, Any]) -> Row:
    aim = told["aim"] and Aim(**told["aim"])
    return Row(**{**told, "aim": aim, "spread": tuple(told["spread"])})
