"""Optuna storages that survive a crash: SQLite, PostgreSQL, or a journal in a shared folder."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from refkd.errors import RefKDError
from refkd.urls import Url
from tune import compat

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy.engine import URL

JOURNAL = "journal:"
KINDS = "sqlite:///FILE, postgresql+psycopg://USER@HOST/DATABASE, or journal:FILE"


class StorageError(RefKDError):
    """A storage that cannot be opened."""


class EmptyStorageError(StorageError):
    """A database without a table."""


def open_storage(url: Url | str, *, create: bool = True) -> BaseStorage:
    """Open an SQLAlchemy URL or `journal:PATH`.

    Without `create` a database must have its tables: `EmptyStorageError` where it has none.
    """
    url = Url(url)
    return _open_journal(url) if is_journal(url) else _open_rdb(url, create=create)


def close_storage(storage: BaseStorage) -> None:
    """Close a storage's connections; a journal has none."""
    storage.remove_session()
    engine = getattr(storage, "engine", None)
    if engine is not None:
        engine.dispose()


def is_journal(url: Url | str) -> bool:
    """Return whether a storage is a journal file."""
    return Url(url).reveal().startswith(JOURNAL)


def file_of(url: Url | str) -> Path | None:
    """Return the file that a storage is, however it is spelt; None for a database server."""
    url = Url(url)
    if is_journal(url):
        return Path(url.reveal().removeprefix(JOURNAL)).resolve()
    return sqlite_file(database_url(url))


def store_file(uri: Url) -> Path | None:
    """Return the file of a tracking store, None for a server and for another store."""
    written = uri.reveal()
    if not written.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    return sqlite_file(make_url(written))


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


def database_url(url: Url | str) -> URL:
    """Parse the URL of a database, PostgreSQL with psycopg 3; `StorageError` if none fits."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    url = Url(url)
    try:
        parsed = make_url(url.reveal())
    except (ArgumentError, ValueError):  # SQLAlchemy leaves the ValueError of a bad port as it is
        raise StorageError(f"storage {str(url)!r} is no URL; use {KINDS}") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageError(
            f"storage {str(url)!r}: a study cannot live in "
            f"{parsed.get_backend_name()!r}; use {KINDS}"
        )
    if parsed.get_backend_name() == "sqlite" and sqlite_file(parsed) is None:
        raise StorageError(
            f"storage {str(url)!r} is memory that ends with the process; use sqlite:///FILE"
        )
    return parsed


def mend_journal(path: Path) -> int:
    """Cut a torn last line off a journal whose lock is held; return how many bytes it had."""
    content = path.read_bytes()
    end = content.rfind(compat.JOURNAL_END) + 1
    os.truncate(path, end)
    return len(content) - end


def explain(error: Exception, url: Url) -> NoReturn:
    """Raise a `StorageError` that tells the user what a database's error means."""
    if isinstance(error, ImportError):
        remedy = "install refkd[postgres], which brings psycopg 3, and use postgresql+psycopg://"
        raise StorageError(f"storage {url}: its driver is missing ({error}); {remedy}") from None
    message = str(getattr(error, "orig", None) or error)
    first = message.strip().splitlines()[0]
    remedy = "check that the file is a study's and that its folder can be written"
    if not url.reveal().startswith("sqlite"):
        remedy = "check host, port, user and password, and that the server runs"
    if "does not exist" in message:
        remedy = "create what is missing, or correct the name: refkd makes tables, no database"
    raise StorageError(f"storage {url} cannot be used: {first}; {remedy}") from None


def _open_journal(url: Url) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = Path(url.reveal().removeprefix(JOURNAL)).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        raise StorageError(
            f"storage journal:{path} cannot be used: {error.strerror}; give a file in a folder "
            "that can be written"
        ) from None
    except (KeyError, TypeError, ValueError) as error:  # JSON that is none is a ValueError
        raise StorageError(
            f"storage journal:{path} is no journal of Optuna, or is damaged ({error}); give "
            "another file"
        ) from None


def _open_rdb(url: Url, *, create: bool) -> RDBStorage:
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy import event
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    class Database(RDBStorage):
        def __getstate__(self) -> dict[Any, Any]:
            raise TypeError("a storage may hold a password: it is opened where used, not pickled")

    parsed = database_url(url)
    path = file_of(url)
    options: dict[str, Any] = {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}
    try:
        if path is not None:
            options = {"connect_args": {"timeout": 30}}
            path.parent.mkdir(parents=True, exist_ok=True)
        if not create:
            _check_tables(parsed, options, url)
        storage = Database(
            parsed.render_as_string(hide_password=False),
            engine_kwargs=options,
            skip_table_creation=not create,
        )
    except NoSuchModuleError:
        raise StorageError(
            f"storage {str(url)!r} names a driver that does not exist; use {KINDS}"
        ) from None
    except (ImportError, OSError, SQLAlchemyError) as error:
        explain(error, url)
    except StorageInternalError as error:  # Optuna's, around the one that says what is wrong
        explain(error.__cause__ if isinstance(error.__cause__, Exception) else error, url)
    # A storage that is no longer used closes its connections.
    weakref.finalize(storage, storage.engine.dispose)
    if path is not None:
        event.listen(storage.engine, "connect", _use_write_ahead_log)
        # Connections made by the constructor lack the settings.
        storage.engine.dispose()
    return storage


def _check_tables(parsed: URL, options: dict[str, Any], url: Url) -> None:
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.pool import NullPool

    engine = create_engine(parsed, connect_args=options["connect_args"], poolclass=NullPool)
    if not inspect(engine).get_table_names():
        raise EmptyStorageError(f"storage {url}: holds no table, so no study was begun there")


def _use_write_ahead_log(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
