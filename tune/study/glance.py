"""A study in SQLite read without Optuna: importing it takes longer than all else of a look.

The storage stays the one truth, and only tables of the revision that is known here are read so;
a journal, a server, and a file of any other revision are left to Optuna.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from tune.spec.urls import resolve

REVISION = "v3.2.0.a"
"""Of the tables, as Optuna names it in them."""
_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf}


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


class Glance(NamedTuple):
    """A study's own facts, and its trials in the order of their numbers."""

    attributes: dict[str, Any]
    trials: list[StoredTrial]


def glance(url: str, name: str) -> Glance | None:
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


def _read(connection: sqlite3.Connection, name: str) -> Glance | None:
    if connection.execute("SELECT version_num FROM alembic_version").fetchall() != [(REVISION,)]:
        return None
    row = connection.execute("SELECT study_id FROM studies WHERE study_name = ?", [name])
    study = row.fetchone()
    if study is None:
        return None
    query = "SELECT key, value_json FROM study_user_attributes WHERE study_id = ?"
    facts = connection.execute(query, study)
    attributes = {key: json.loads(value) for key, value in facts}
    return Glance(attributes, _trials(connection, study))


def _trials(connection: sqlite3.Connection, study: tuple[int]) -> list[StoredTrial]:
    rows = connection.execute(
        "SELECT trial_id, number, state FROM trials WHERE study_id = ? ORDER BY trial_id", study
    )
    trials = {key: StoredTrial(number=number, state=State[name]) for key, number, name in rows}

    def of_trials(table: str, columns: str, order: str) -> Iterator[tuple[Any, ...]]:
        query = f"SELECT trial_id, {columns} FROM {table} JOIN trials USING (trial_id)"
        yield from connection.execute(f"{query} WHERE study_id = ? ORDER BY {order}", study)

    columns = "param_name, param_value, distribution_json"
    for key, name, value, range_ in of_trials("trial_params", columns, "param_id"):
        trials[key].params[name] = _param(value, json.loads(range_))
    for key, value, kind in of_trials("trial_values", "value, value_type", "objective"):
        trials[key].values.append(_INFINITE.get(kind, value))
    for key, name, value in of_trials("trial_user_attributes", "key, value_json", "trial_id"):
        trials[key].user_attrs[name] = json.loads(value)
    return list(trials.values())


def _param(stored: float, distribution: dict[str, Any]) -> Any:
    """Return a value as it was suggested; the table holds all as real numbers."""
    if distribution["name"] == "CategoricalDistribution":
        return distribution["attributes"]["choices"][int(stored)]
    return int(stored) if distribution["name"] == "IntDistribution" else stored
