"""SQLite files as they may be found: on a medium or of a person that lets nobody write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_WRITE_AHEAD = "-wal"
"""Ending of the file that holds what is not yet in the database itself."""


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite database; None for another one, and for one in memory."""
    if url.get_backend_name() != "sqlite":
        return None
    from sqlalchemy.util import asbool

    path, query = url.database or "", dict(url.query)
    if path.startswith("file:") and asbool(query.get("uri", False)):
        path = unquote(path.removeprefix("file:").removeprefix("//"))
    if path in ("", ":memory:") or query.get("mode") == "memory":
        return None
    return Path(path).resolve()


def readable(path: Path) -> str:
    """Return the address under which `sqlite3` reads a file, also where nothing can be written.

    A file that was written ahead needs two more beside it. Where they cannot be made, and nothing
    waits in them, the file is all there is and is read as one that nobody changes.
    """
    address = f"{path.absolute().as_uri()}?mode=rw"
    ahead = path.with_name(path.name + _WRITE_AHEAD)
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        waits = ahead.exists() and ahead.stat().st_size > 0
        if not waits and error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            return f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    except sqlite3.DatabaseError:  # none at all: whoever reads it says so
        pass
    return address
