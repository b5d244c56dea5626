"""Reading the trials of a study from its SQLite file, without Optuna."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from refkd.urls import Url
from tune import compat
from tune.study.database import LOCK_SECONDS
from tune.study.sqlite_file import readable
from tune.study.storage import explain
from tune.study.view import TrialView


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
