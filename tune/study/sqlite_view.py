"""Reading the trials of a study from its SQLite file, without Optuna; a copy to read from."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from refkd.urls import Url
from tune import compat
from tune.study.database import LOCK_SECONDS
from tune.study.sqlite_file import readable
from tune.study.storage import StorageError, explain
from tune.study.view import TrialView

TRIES = 50
"""How often a database that others write to is copied before it is given up."""


def read_sqlite(url: Url | str, name: str) -> tuple[dict[str, Any], list[TrialView]] | None:
    """Return a study's attributes and ordered trials; None where only Optuna can read them."""
    found = re.fullmatch(r"sqlite:///(?!file:)([^?]+)", Url(url).reveal())
    if found is None:
        return None
    try:
        address = readable(Path(unquote(found[1])))
        with closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)) as connection:
            connection.execute("BEGIN")
            if connection.execute(compat.SQL_REVISION).fetchall() != [(compat.REVISION,)]:
                return None
            study = connection.execute(compat.SQL_STUDY, [name]).fetchone()
            return None if study is None else _read(connection, study)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            explain(error, Url(url))  # Optuna would wait as long again
        return None


def copied(file: Path, folder: Path) -> Path:
    """Return a copy of a SQLite file in a folder, of one moment, with what is not yet merged in.

    To open a database, also to read it, writes beside it and into it what a killed writer left.
    """
    parts = [file.with_name(file.name + ending) for ending in ("", "-wal", "-journal")]
    copy = folder / file.name
    for _ in range(TRIES):
        before = _times(parts)
        for part in parts:
            other = copy.with_name(copy.name + part.name.removeprefix(file.name))
            other.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                shutil.copyfile(part, other)
        if _times(parts) == before:
            return copy
    raise StorageError(f"{file}: is written to without a pause; ask again when less is going on")


def _times(parts: list[Path]) -> list[tuple[int, int] | None]:
    stats = [part.stat() if part.is_file() else None for part in parts]
    return [None if stat is None else (stat.st_size, stat.st_mtime_ns) for stat in stats]


def _read(
    connection: sqlite3.Connection, study: tuple[int]
) -> tuple[dict[str, Any], list[TrialView]]:
    values, facts = defaultdict[int, Any](dict), defaultdict[int, Any](dict)
    objectives = defaultdict[int, list[float]](list)
    for key, name, value, distribution in connection.execute(compat.SQL_PARAMS, study):
        values[key][name] = compat.stored_param(value, distribution)
    for key, value, kind in connection.execute(compat.SQL_VALUES, study):
        objectives[key].append(compat.stored_value(value, kind))
    for key, name, value in connection.execute(compat.SQL_TRIAL_FACTS, study):
        facts[key][name] = json.loads(value)
    trials = [
        TrialView(
            number=number,
            state=state,
            values=values[key],
            objectives=objectives[key] or None,
            attributes=facts[key],
        )
        for key, number, state in connection.execute(compat.SQL_TRIALS, study)
    ]
    return {k: json.loads(v) for k, v in connection.execute(compat.SQL_FACTS, study)}, trials
