"""Optuna storages that survive a crash: SQLite, PostgreSQL, or a journal in a shared folder."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

from refkd.errors import RefKDError
from refkd.urls import Url
from tune import compat
from tune.ending.exits import UnfinishedError
from tune.study import database
from tune.study.sqlite_file import readable, sqlite_file

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy.engine import URL, ExceptionContext

JOURNAL = "journal:"
OWN_DATABASE = (
    "a database of its own: another file, another database of the server (createdb NAME), or "
    "another schema of it (CREATE SCHEMA NAME, and ?options=-csearch_path%3DNAME behind the URL)"
)
KINDS = "sqlite:///FILE, postgresql+psycopg://USER@HOST/DATABASE, or journal:FILE"


class StorageError(RefKDError):
    """A storage that cannot be opened."""


def open_storage(url: Url | str, *, write: bool = True) -> BaseStorage:
    """Open an SQLAlchemy URL or `journal:PATH`; without `write` it must hold a study.

    Whatever is wrong with it, now or later, is a `StorageError`.
    """
    url = Url(url)
    return (_open_journal if is_journal(url) else _open_rdb)(url, write=write)


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


def explain(error: BaseException, url: Url) -> NoReturn:
    """Raise a `StorageError` that tells the user what a storage's error means."""
    from sqlalchemy.exc import NoSuchModuleError

    if isinstance(error, NoSuchModuleError):
        raise StorageError(
            f"storage {str(url)!r} names a driver that does not exist; use {KINDS}"
        ) from None
    if isinstance(error, ImportError):
        remedy = "install refkd[postgres], which brings psycopg 3, and use postgresql+psycopg://"
        raise StorageError(f"storage {url}: its driver is missing ({error}); {remedy}") from None
    if isinstance(error, RuntimeError):  # of tables that another version has made
        said, _, advice = str(error).partition(". Please ")
        raise StorageError(
            f"storage {url} cannot be used: {said}; keep a copy, then {advice or 'upgrade Optuna'}"
        ) from None
    if error.__cause__ is not None and "Storage" in type(error).__name__:
        error = error.__cause__  # Optuna's, around the one that says what is wrong
    what = database.remedy(error, is_file=file_of(url) is not None)
    raise StorageError(
        f"storage {url} cannot be used: {database.first_line(error)}; {what}"
    ) from None


@contextmanager
def to_be_continued() -> Iterator[None]:
    """Turn a storage that fails in the body into work that is left: the same command goes on."""
    try:
        yield
    except StorageError as error:
        what = str(error).removesuffix(f", {database.AGAIN}")
        raise UnfinishedError(f"{what}, {database.AGAIN} to continue") from None


def _open_journal(url: Url, *, write: bool) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            try:
                super().append_logs(logs)
            except OSError as error:
                _explain_file(error, path)

    path = Path(url.reveal().removeprefix(JOURNAL)).resolve()
    try:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()
        with path.open("rb") as file:  # Optuna takes a single line of another text for a torn one
            begun, whole = file.read(len(compat.JOURNAL_BEGIN)), compat.JOURNAL_BEGIN
        if not whole.startswith(begun):
            raise ValueError(f"it begins with {begun.decode('utf-8', 'replace')!r}")
        return JournalStorage(Journal(str(path)))
    except OSError as error:
        _explain_file(error, path)
    # JSON that is none is a ValueError, and JSON of something else lacks what Optuna looks for.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise StorageError(
            f"storage journal:{path} is no journal of Optuna, one of a later version, or damaged "
            f"({database.first_line(error)}); give another file"
        ) from None


def _explain_file(error: OSError, path: Path) -> NoReturn:
    what = "give a file in a folder that can be written"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = f"free some space, {database.AGAIN}"
    raise StorageError(
        f"storage journal:{path} cannot be used: {error.strerror or error}; {what}"
    ) from None


def _open_rdb(url: Url, *, write: bool) -> RDBStorage:
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy import URL, event
    from sqlalchemy.exc import SQLAlchemyError

    class Database(RDBStorage):
        def __getstate__(self) -> dict[Any, Any]:
            raise TypeError("a storage may hold a password: it is opened where used, not pickled")

    parsed, path = database_url(url), file_of(url)
    patience = {"connect_timeout": database.CONNECT_SECONDS, **database.SILENCE}
    options: dict[str, Any] = {"connect_args": patience, "pool_pre_ping": True}
    try:
        if path is not None:
            options = {"connect_args": {"timeout": database.LOCK_SECONDS}}
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif path.is_file():
                address, _, query = readable(path).partition("?")
                asked = {**dict(parse_qsl(query)), "uri": "true"}
                parsed = URL.create("sqlite", database=address, query=asked)
        _check_tables(parsed, url, path, write=write)
        storage = Database(
            parsed.render_as_string(hide_password=False),
            engine_kwargs=options,
            skip_table_creation=not write,
        )
    except (ImportError, OSError, RuntimeError, SQLAlchemyError, StorageInternalError) as error:
        explain(error, url)
    # A storage that is no longer used closes its connections.
    weakref.finalize(storage, storage.engine.dispose)
    event.listen(storage.engine, "handle_error", _Explained(url))
    if path is not None:
        if write:
            event.listen(storage.engine, "connect", _use_write_ahead_log)
        # Connections made by the constructor lack the settings.
        storage.engine.dispose()
    return storage


def _check_tables(parsed: URL, url: Url, path: Path | None, *, write: bool) -> None:
    """Raise `StorageError` where a database holds what is no study's, before it is written to."""
    if path is not None and not path.exists() and write:
        return
    engine = database.connect_once(parsed)
    with engine.connect() as connection:
        revision = database.revision_of(connection)
    if revision is None:
        if not write:
            raise StorageError(f"storage {url}: holds no study yet; begin one with `refkd search`")
        return
    whose = database.owner(revision)
    if whose != "Optuna":
        raise StorageError(
            f"storage {url}: holds the tables of {whose}, which a study would break; give the "
            f"study {OWN_DATABASE}"
        )


class _Explained:
    """Tells the user what an error of a database that is open means."""

    def __init__(self, url: Url) -> None:
        self._url = url

    def __call__(self, context: ExceptionContext) -> None:
        from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

        error = context.sqlalchemy_exception
        if (
            context.is_pre_ping
            or not isinstance(error, DBAPIError)
            or isinstance(error, DataError | IntegrityError)
            or database.is_answered(context.original_exception)
        ):
            return  # SQLAlchemy or Optuna goes on by itself, or it is a fault of ours
        explain(error, self._url)


def _use_write_ahead_log(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
