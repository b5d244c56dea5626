"""Whether a tracking store can keep a record at all, asked before a training and not after it.

A store that is away now may come back: a search goes on without, and the record is sent later.
One that can never keep it is refused: of another kind or version, without a driver, or not open to
this user. Nothing is asked twice, and nobody waits for longer than `CONNECT_SECONDS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.errors import RefKDError
from refkd.urls import Url
from tune import compat
from tune.study import database
from tune.study.storage import OWN_DATABASE, database_url, file_of, is_journal, store_file
from tune.tracking.target import client_settings

if TYPE_CHECKING:
    from requests import Response
    from sqlalchemy.engine import URL

_BACKENDS = ("sqlite", "postgresql", "mysql", "mssql")
_KINDS = "http://HOST:PORT of an MLflow server, sqlite:///FILE, or postgresql+psycopg://"
_MODELS = "/api/2.0/mlflow/logged-models/search"
"""What an MLflow server has since version 3."""
_LATER = "see that it is well, then run the same command again"
_UNKNOWN_USER = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}
_FOR_GOOD = re.compile(
    "authentication failed|access denied|does not exist|unknown database|no pg_hba|"
    "not a database|malformed",
    re.I,
)
"""What a database says that no waiting mends."""


class TrackingError(RefKDError):
    """A tracking store that cannot keep a record."""


class AwayError(TrackingError):
    """A tracking store that does not answer now, and may later."""


def check_start(storage: Url | None, uri: Url) -> str | None:
    """Hold a study's storage and tracking store to each other before anything is written.

    Returns a sentence where the store is away now. Raises `TrackingError` where it can never keep
    the record, or is the database of the study.
    """
    if storage is not None:
        check_apart(storage, uri)
    try:
        check(uri, write=True)
    except AwayError as error:
        return f"{error}; this goes on without, and what MLflow lacks is sent later"
    return None


def check_apart(storage: Url, uri: Url) -> None:
    """Raise `TrackingError` where a study and its record would have one database."""
    same = database.same_file(file_of(storage), store_file(uri))
    if not same and not is_journal(storage) and uri.reveal().startswith("postgres"):
        same = database.share_tables(database_url(storage), _parsed(uri))
    if same:
        raise TrackingError(
            f"tracking.uri {uri}: is the database of the study ({storage}), where each would "
            f"break the tables of the other; give one of them {OWN_DATABASE}"
        )


def check(uri: Url, *, write: bool = False) -> None:
    """Raise `TrackingError` where a store cannot keep a record, `AwayError` where not now.

    One that is not there yet can; with `write` it must be one that this user may make or change.
    """
    address = uri.reveal()
    if address.startswith(("http://", "https://")):
        with client_settings():
            _check_server(uri, address.rstrip("/"))
        return
    parsed, path = _parsed(uri), store_file(uri)
    if parsed.get_backend_name() == "sqlite" and path is None:
        raise TrackingError(
            f"tracking.uri {uri}: is memory that ends with the process; use sqlite:///FILE"
        )
    if path is not None:
        _check_file(uri, path, write=write)
        if not path.exists():
            return
    _check_database(uri, parsed)


@contextmanager
def asked(uri: Url) -> Iterator[None]:
    """Turn what MLflow's client raises in the body into a `TrackingError` of one line."""
    with client_settings():
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError) as error:
            raise _unanswered(uri, error) from None


def _parsed(uri: Url) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(uri.reveal())
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in _BACKENDS:
        raise TrackingError(f"tracking.uri {uri}: no record can be kept there; use {_KINDS}")
    return parsed


def _check_file(uri: Url, path: Path, *, write: bool) -> None:
    if path.is_dir():
        raise TrackingError(f"tracking.uri {uri}: {path} is a folder; name a file in it")
    there = next(one for one in (path, *path.parents) if one.exists())
    for one in {there, path.parent if there == path else there} if write else ():
        if not os.access(one, os.W_OK) or (one != path and not one.is_dir()):
            raise TrackingError(
                f"tracking.uri {uri}: {one} cannot be written; make it writable, or name another "
                "file"
            )


def _check_database(uri: Url, parsed: URL) -> None:
    """Raise `TrackingError` where a database has other tables than the installed MLflow's."""
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    try:
        with database.connect_once(parsed).connect() as connection:
            revision = database.revision_of(connection)
    except (ImportError, NoSuchModuleError) as error:
        raise TrackingError(
            f"tracking.uri {uri}: its driver is missing ({database.first_line(error)}); install "
            f"it, or use {_KINDS}"
        ) from None
    except SQLAlchemyError as error:
        raise _unanswered(uri, error) from None
    if revision is None or revision == compat.mlflow_revision():
        return
    if database.owner(revision) == "Optuna":
        raise TrackingError(
            f"tracking.uri {uri}: holds a study of Optuna, whose tables a record would break; "
            f"give MLflow {OWN_DATABASE}"
        )
    raise TrackingError(
        f"tracking.uri {uri}: holds the tables of another version of MLflow ({revision}, not "
        f"{compat.mlflow_revision()}); install that version, or keep a copy and run `mlflow db "
        "upgrade` on it"
    )


def _check_server(uri: Url, address: str) -> None:
    """Ask what MLflow has since version 3; where a login is wanted, by MLflow's own client.

    That one knows every way to log in, and takes seconds to be imported.
    """
    import requests

    asked_for: dict[str, Any] = {"experiment_ids": ["0"], "max_results": 1}
    seconds = float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    answer: Response | None = None
    try:
        answer = requests.post(f"{address}{_MODELS}", json=asked_for, timeout=seconds)
    except requests.exceptions.SSLError:  # of a certificate that MLflow's settings may know
        pass
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _unanswered(uri, error) from None
    except (requests.RequestException, ValueError) as error:
        raise TrackingError(
            f"tracking.uri {uri}: is no address ({database.first_line(error)}); use {_KINDS}"
        ) from None
    if answer is None or answer.status_code in (401, 403):
        _ask_mlflow(uri)
    elif answer.status_code in (408, 429) or answer.status_code >= 500:
        raise AwayError(f"{_server(uri)} does not answer ({answer.status_code}); {_LATER}")
    elif not answer.ok or not answer.text.lstrip().startswith("{"):
        raise TrackingError(
            f"{_server(uri)} is no MLflow of version 3 or later (it answers "
            f"{answer.status_code}); give the address of one, with port and path"
        )


def _ask_mlflow(uri: Url) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri.reveal(), registry_uri=uri.reveal())
    with asked(uri):
        client.search_logged_models(["0"], max_results=1)


def _server(uri: Url) -> str:
    return f"the tracking server {uri}"


def _unanswered(uri: Url, error: Exception) -> TrackingError:
    """Return the error to raise where a store does not do what was asked."""
    said = database.first_line(error)
    if uri.reveal().startswith(("http://", "https://")):
        if getattr(error, "error_code", "") in _UNKNOWN_USER:
            return TrackingError(
                f"{_server(uri)} refuses this user ({said}); check user and password, in the URL "
                "or in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return AwayError(f"{_server(uri)} does not answer ({said}); start it, or name another")
    kind = TrackingError if _FOR_GOOD.search(said) else AwayError
    what = database.remedy(error, is_file=store_file(uri) is not None, whose="MLflow's")
    return kind(f"tracking.uri {uri} cannot be used: {said}; {what}")
