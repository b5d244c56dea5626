"""The ledger of evaluations on the sealed test roles, called looks.

Those of a study are its events; `ledger.jsonl` beside it is a copy for people. Those of a table of
`refkd reproduce`, which is no study, stand in the file alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from refkd.config import Config
from refkd.errors import RefKDError
from refkd.files import canonical_json, replaced
from tune.study.event_base import study_events
from tune.study.events import LookDone, LookTaken

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
    state: Literal["begun", "done"] = "done"
    """Of one that is begun nothing was shown: it is taken again as the same look."""

    @property
    def trials(self) -> dict[str, int]:
        """The champions that are trials, by alias."""
        return {a: c.trial for a, c in self.champions.items() if c.trial is not None}

    @property
    def title(self) -> str:
        """The title of every table of this evaluation."""
        return f"this is look {self.look}" + (f": {self.reason}" if self.reason else "")


def looks_of(folder: Path, attributes: Mapping[str, Any]) -> list[Look]:
    """Return the looks of a study in order, from its events.

    Raises `LedgerError` where an earlier refkd left a row to the file alone, and it is not there.
    """
    ended = {one.look: one.row for one in study_events(attributes, LookDone)}
    taken = sorted(study_events(attributes, LookTaken), key=lambda one: one.look)
    in_file = [] if all(one.row for one in taken) else read_looks(folder)
    looks = []
    for number, one in enumerate(taken):
        if one.row is not None:
            looks.append(_read(folder, one.look, ended.get(one.look) or one.row))
        elif number < len(in_file) and _is_noted(in_file[number], one):
            looks.append(in_file[number])
        else:
            held = "another" if number < len(in_file) else "no"
            raise LedgerError(
                f"{folder / LEDGER}: holds {held} row for look {one.look}, which the study has "
                "noted; restore the file from a copy"
            )
    return looks


def _read(folder: Path, number: int, row: Mapping[str, Any]) -> Look:
    try:
        return Look.model_validate(row)
    except ValidationError:
        raise LedgerError(
            f"{folder}: what its study holds of look {number} is no row of a ledger; restore the "
            "study's storage from a copy"
        ) from None


def _is_noted(row: Look, noted: LookTaken) -> bool:
    """Return whether a row is the one that an earlier refkd noted in the study."""
    facts = row.look, row.trials, row.user, row.host, row.reason
    return facts == (noted.look, noted.champions, noted.user, noted.host, noted.reason)


def read_looks(folder: Path) -> list[Look]:
    """Return the rows of a ledger's file; `LedgerError` where one cannot be read."""
    path = folder / LEDGER
    looks = []
    for number, line in enumerate(_lines(path), start=1):
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


def with_row(looks: Sequence[Look], row: Look) -> list[Look]:
    """Return the looks up to and with a row, in the place of one of its number."""
    return [*looks[: row.look - 1], row]


def write_looks(folder: Path, looks: Sequence[Look]) -> None:
    """Write the rows into the ledger's file, atomically; on disk when this returns."""
    rows = [canonical_json(look.model_dump(mode="json")) + b"\n" for look in looks]
    with replaced(folder / LEDGER) as temporary:
        temporary.write_bytes(b"".join(rows))


def is_copy(folder: Path, looks: Sequence[Look]) -> bool:
    """Return whether the file says what the study does.

    Raises `LedgerError` where it has rows, or the end of a look, that the study lacks: a study
    that was set back to an earlier copy would hide a look.
    """
    held = len(_lines(folder / LEDGER))
    if held > len(looks):
        raise LedgerError(
            f"{folder / LEDGER}: holds {held} rows, but the study knows of {len(looks)} looks; "
            "restore the study's storage from a copy that knows them all, or remove what was "
            "added to the file"
        )
    try:
        rows = read_looks(folder)
    except LedgerError:
        return False
    for row, known in zip(rows, looks, strict=False):
        if row.state == "done" and known.state == "begun":
            raise LedgerError(
                f"{folder / LEDGER}: holds the end of look {row.look}, which the study lacks; "
                "restore the study's storage from a copy that knows it"
            )
    return rows == list(looks)


def check_look(looks: Sequence[Look], *, study: str, again: bool, reason: str | None) -> None:
    """Refuse a further look without a reason; one that was begun and not ended needs none."""
    done = [look for look in looks if look.state == "done"]
    if not done and (again or reason is not None):
        raise LedgerError(
            f"study {study!r} has not been looked at yet; leave out --again and --reason"
        )
    if len(done) == len(looks) and done and not (again and reason and reason.strip()):
        last, times = done[-1], "once" if len(done) == 1 else f"{len(done)} times"
        raise LedgerError(
            f"study {study!r} was looked at {times}, last by {last.user} on "
            f"{last.host} at {last.time}: one look is what makes a test result honest; to look "
            "again give --again --reason TEXT, which every later result shows"
        )


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.is_file() else []
