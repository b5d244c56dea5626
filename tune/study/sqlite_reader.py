"""A study in SQLite read without Optuna, whose import takes longer than all else of reading.

Only tables of the one revision that is known are read so; a journal, a server, and a file of any
other revision are left to Optuna.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from tune import compat
from tune.config.urls import resolve

State = Enum("State", ["RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"])
"""What became of a trial; the names are Optuna's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTrial:
    """A trial with what a view is made of."""

    number: int
    state: State
    params: dict[str, Any] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    """Of the objectives; none before the trial is complete."""
    user_attrs: dict[str, Any] = field(default_factory=dict)


def read_sqlite(url: str, name: str) -> tuple[dict[str, Any], list[StoredTrial]] | None:
    """Return the attributes and trials of the study `name` of a storage at one moment.

    The trials are in the order of their numbers. None where Optuna is to read the study.
    """
    found = re.fullmatch(r"sqlite:///([^?%]+)", resolve(url))
    if found is None:
        return None
    address = f"{Path(found[1]).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as connection:
            connection.execute("BEGIN")
            if connection.execute(compat.SQL_REVISION).fetchall() != [(compat.REVISION,)]:
                return None
            study = connection.execute(compat.SQL_STUDY, [name]).fetchone()
            return None if study is None else _read(connection, study)
    except sqlite3.Error:
        return None


def _read(
    connection: sqlite3.Connection, study: tuple[int]
) -> tuple[dict[str, Any], list[StoredTrial]]:
    attributes = {k: json.loads(v) for k, v in connection.execute(compat.SQL_FACTS, study)}
    rows = connection.execute(compat.SQL_TRIALS, study)
    trials = {key: StoredTrial(number=number, state=State[name]) for key, number, name in rows}
    for key, name, value, distribution in connection.execute(compat.SQL_PARAMS, study):
        trials[key].params[name] = compat.stored_param(value, distribution)
    for key, value, kind in connection.execute(compat.SQL_VALUES, study):
        trials[key].values.append(compat.stored_value(value, kind))
    for key, name, value in connection.execute(compat.SQL_TRIAL_FACTS, study):
        trials[key].user_attrs[name] = json.loads(value)
    return attributes, list(trials.values())
