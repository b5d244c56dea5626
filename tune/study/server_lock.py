"""The lock of a study's driver on a PostgreSQL server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from refkd.urls import Url
from tune.study.storage import database_url, explain

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_KEEPALIVE = ("tcp_keepalives_idle=30", "tcp_keepalives_interval=10", "tcp_keepalives_count=3")


class ServerLock:
    """An advisory lock of PostgreSQL, on a connection of its own."""

    def __init__(self, url: Url | str, study: str) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        digest = hashlib.sha256(f"refkd/driver/{study}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._url = Url(url)
        self._connection: Connection | None = None
        try:
            self._engine = create_engine(
                database_url(url),
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args={"connect_timeout": 10},
            )
        except ImportError as error:
            explain(error, self._url)

    def acquire(self) -> bool:
        """Take the lock, over a new connection if need be; return whether it is held now."""
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
                return True
            except DBAPIError:
                self.release()
        try:
            connection = self._engine.connect()
            # The server then notices within a minute that a holder's machine has lost its power.
            for setting in _KEEPALIVE:
                connection.execute(text(f"SET {setting}"))
            lock = text("SELECT pg_try_advisory_lock(:key)")
            taken = bool(connection.execute(lock, {"key": self._key}).scalar())
        except SQLAlchemyError as error:
            explain(error, self._url)
        self._connection = connection
        if not taken:
            self.release()
        return taken

    def release(self) -> None:
        """Close the connection: the server frees the lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
