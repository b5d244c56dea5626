"""A study in SQLite read without Optuna: importing it takes longer than all else of a look.

The storage stays the one truth, and only tables of the revision that is known are read so;
a journal, a server, and a file of any other revision are left to Optuna.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from tune import compat
from tune.config.urls import resolve


class State(Enum):
    """What became of a trial; the names are Optuna's."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    WAITING = "WAITING"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTrial:
    """A trial with what a view is made of."""

    number: int
    state: State
    params: dict[str, Any] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    """Of the objectives; none before the trial is complete."""
    user_attrs: dict[str, Any] = field(default_factory=dict)


class StudyRows(NamedTuple):
    """A study's own facts, and its trials in the order of their numbers."""

    attributes: dict[str, Any]
    trials: list[StoredTrial]


def read_sqlite(url: str, name: str) -> StudyRows | None:
    """Return the study `name` of a storage at one moment; None where Optuna is to read it."""
    found = re.fullmatch(r"sqlite:///([^?%]+)", resolve(url))
    if found is None:
        return None
    address = f"{Path(found[1]).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as connection:
            connection.execute("BEGIN")
            return _read(connection, name)
    except sqlite3.Error:
        return None


def _read(connection: sqlite3.Connection, name: str) -> StudyRows | None:
    if connection.execute(compat.SQL_REVISION).fetchall() != [(compat.REVISION,)]:
        return None
    study = connection.execute(compat.SQL_STUDY, [name]).fetchone()
    if study is None:
        return None
    facts = connection.execute(compat.SQL_FACTS, study)
    attributes = {key: json.loads(value) for key, value in facts}
    return StudyRows(attributes, _trials(connection, study))


def _trials(connection: sqlite3.Connection, study: tuple[int]) -> list[StoredTrial]:
    rows = connection.execute(compat.SQL_TRIALS, study)
    trials = {key: StoredTrial(number=number, state=State[name]) for key, number, name in rows}
    for key, name, value, distribution in connection.execute(compat.SQL_PARAMS, study):
        trials[key].params[name] = compat.stored_param(value, distribution)
    for key, value, kind in connection.execute(compat.SQL_VALUES, study):
        trials[key].values.append(compat.stored_value(value, kind))
    for key, name, value in connection.execute(compat.SQL_TRIAL_FACTS, study):
        trials[key].user_attrs[name] = json.loads(value)
    return list(trials.values())
