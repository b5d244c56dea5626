"""Databases of studies and of records: whose one is, and what its errors mean in one line."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.masking import masked
from tune import compat

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine

CONNECT_SECONDS = 10
"""How long a server may take to answer a connection; it is not tried again."""
SILENCE = {
    **{"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3},
    "tcp_user_timeout": 60_000,
}
"""Lets a PostgreSQL that falls silent, as behind a lost network, count as lost after a minute."""
LOCK_SECONDS = 30
"""How long a SQLite file may be locked by another process."""
AGAIN = "then run the same command again"
_REMEDIES = (
    ("database is locked|lock timeout", f"wait for the process that holds it, {AGAIN}"),
    ("disk is full|disk full|no space left|quota|could not extend", f"free some space, {AGAIN}"),
    ("disk I/O error", "see to the file system and its mount"),
    ("permission denied for", "let its owner grant the user of the URL what is missing"),
    ("read-?only", "it is read-only: make file and folder writable, or ask what only looks"),
    ("not a database|malformed", "check that the file is {whose}, or restore it from a copy"),
    (
        "starting up|shutting down|recovery mode|too many|terminat|closed the connection|closed",
        f"see that the server is well, {AGAIN}",
    ),
)
_TRANSIENT = ("40", "too many SQL variables")
"""SQLSTATEs and a message that Optuna itself answers, by another try or another query."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, without passwords."""
    message = str(getattr(error, "orig", None) or error).strip()
    return masked(message.splitlines()[0])[:300] if message else type(error).__name__


def remedy(error: BaseException, *, is_file: bool, whose: str = "a study's") -> str:
    """Return what a user can do about an error of a database."""
    message = str(getattr(error, "orig", None) or error)
    for words, what in _REMEDIES:
        if re.search(words, message, re.I):
            return what.format(whose=whose)
    if is_file:
        return f"check that the file is {whose} and that its folder can be written"
    if "does not exist" in message:
        return "create what is missing, or correct the name: refkd makes tables, no database"
    return "check host, port, user and password, and that the server runs"


def is_answered(error: BaseException) -> bool:
    """Return whether an error is one that Optuna answers itself."""
    state, words = _TRANSIENT
    return str(getattr(error, "sqlstate", "")).startswith(state) or words in str(error)


def connect_once(url: URL) -> Engine:
    """Return an engine for a few questions: short patience, no connection kept."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    name = url.get_backend_name()
    patience = {"sqlite": ("timeout", LOCK_SECONDS), "mssql": ("timeout", CONNECT_SECONDS)}
    option, seconds = patience.get(name, ("connect_timeout", CONNECT_SECONDS))
    arguments: dict[str, Any] = {option: seconds}
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


def revision_of(connection: Connection) -> str | None:
    """Return which tables a database has, by the mark of Optuna or MLflow; None without one."""
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table(compat.REVISION_TABLE):
        return None
    found = connection.execute(text(compat.SQL_REVISION)).scalar()
    return None if found is None else str(found)


def owner(revision: str) -> str:
    """Return whose tables a revision is of.

    >>> owner("v3.2.0.a"), owner("0584bdc529eb"), owner("7")
    ('Optuna', 'MLflow', 'another program')
    """
    if re.fullmatch(r"v\d+\.\d+\.\d+\.[a-z]", revision):
        return "Optuna"
    return "MLflow" if re.fullmatch(r"[0-9a-f]{12,13}", revision) else "another program"


def share_tables(one: URL, other: URL) -> bool:
    """Return whether two URLs lead to the same tables, however they name the database.

    Of PostgreSQL it is asked: a lock that one connection holds is taken for the other one as well
    where both are in one database. A database that cannot be reached is not the same.
    """
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    if {one.get_backend_name(), other.get_backend_name()} != {"postgresql"}:
        return False
    ask = text("SELECT current_schema(), current_schemas(false), pg_try_advisory_lock(:key)")
    try:
        with connect_once(one).connect() as first, connect_once(other).connect() as second:
            key = {"key": secrets.randbits(62)}
            schema, seen, _ = first.execute(ask, key).one()
            also, also_seen, apart = second.execute(ask, key).one()
    except (ImportError, SQLAlchemyError):
        return False
    return not apart and (schema in also_seen or also in seen)


def same_file(one: Path | None, other: Path | None) -> bool:
    """Return whether two paths are one file, also by a link, and before it exists."""
    if one is None or other is None:
        return False
    return one == other or (one.exists() and other.exists() and one.samefile(other))
