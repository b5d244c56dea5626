"""The ledger of evaluations on the sealed test roles, called looks: only appended to."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError

from refkd.config import Config
from refkd.errors import RefKDError
from refkd.files import canonical_json, sync_directory

LEDGER = "ledger.jsonl"


class LedgerError(RefKDError):
    """An evaluation that the ledger does not allow, or a ledger that cannot be read."""


class Evaluated(Config):
    """A champion that is evaluated."""

    trial: int | None = None
    """None where it is a row of a table."""
    students: dict[str, str]
    """sha256 of the weights by folder, relative to the study's: one student for each seed."""


class Look(Config):
    """One row: an evaluation on the test roles, by whom, when, of what, and why again."""

    look: int = Field(ge=1)
    """Counted from 1."""
    time: str
    """In UTC, ISO 8601."""
    user: str
    host: str
    study: str
    champions: dict[str, Evaluated]
    """By alias."""
    teachers: dict[str, str]
    """Digest by `id` and `ood`."""
    dataset: str
    """Fingerprint."""
    sealed: dict[str, str]
    """sha256 of each sealed file, from the manifest."""
    version: str
    git_commit: str
    git_dirty: str
    reason: str | None = None
    """Why they were evaluated again; None for the first time."""

    @property
    def trials(self) -> dict[str, int]:
        """The champions that are trials, by alias."""
        return {a: c.trial for a, c in self.champions.items() if c.trial is not None}

    @property
    def title(self) -> str:
        """The title of every table of this evaluation."""
        return f"this is look {self.look}" + (f": {self.reason}" if self.reason else "")


def read_looks(folder: Path) -> list[Look]:
    """Return the evaluations of a study in order; `LedgerError` where a row cannot be read."""
    path = folder / LEDGER
    if not path.is_file():
        return []
    looks = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            look = Look.model_validate_json(line) if line.endswith(b"\n") else None
        except ValidationError:
            look = None
        if look is None or look.look != number:
            raise LedgerError(
                f"{path}:{number}: is no whole row, so the looks cannot be counted; mend the line "
                "by hand and note why"
            )
        looks.append(look)
    return looks


def check_look(
    looks: list[Look], *, study: str, again: bool, reason: str | None, noted: int = 0
) -> None:
    """Refuse a further evaluation without a reason, or where more were `noted` than are there."""
    if noted > len(looks):
        raise LedgerError(
            f"the ledger of study {study!r} holds {len(looks)} looks, but {noted} were taken: "
            f"restore {LEDGER} from a copy, then look again"
        )
    if not looks and (again or reason is not None):
        raise LedgerError(
            f"study {study!r} has not been looked at yet; leave out --again and --reason"
        )
    if looks and not (again and reason and reason.strip()):
        last, times = looks[-1], "once" if len(looks) == 1 else f"{len(looks)} times"
        raise LedgerError(
            f"study {study!r} was looked at {times}, last by {last.user} on "
            f"{last.host} at {last.time}: one look is what makes a test result honest; to look "
            "again give --again --reason TEXT, which every later result shows"
        )


def append_look(folder: Path, look: Look) -> None:
    """Add a row; it is on disk when this returns."""
    row = canonical_json(look.model_dump(mode="json")) + b"\n"
    descriptor = os.open(folder / LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(descriptor, row)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if written != len(row):
        raise LedgerError(
            f"{folder / LEDGER}: the row could not be written whole; is the disk full?"
        )
    sync_directory(folder)
