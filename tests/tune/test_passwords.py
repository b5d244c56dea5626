"""A search on a real PostgreSQL that asks for a password, which then stands nowhere."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool
from support.chaos import Workspace

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
VARIABLE = "REFKD_TEST_PASSWORD"


@dataclass(frozen=True)
class Guarded:
    """Two databases of a user that the server asks for a password."""

    studies: URL
    record: URL
    password: str

    def text_of(self, database: URL) -> str:
        """Return every row of every table as text."""
        engine = create_engine(database.set(password=self.password), poolclass=NullPool)
        with engine.connect() as connection:
            tables = connection.execute(text("SELECT tablename FROM pg_tables")).scalars().all()
            own = [t for t in tables if not t.startswith(("pg_", "sql_"))]
            rows = [
                connection.execute(text(f'SELECT t::text FROM "{t}" t')).scalars() for t in own
            ]
            return "\n".join(row for table in rows for row in table)


@pytest.fixture
def guarded(postgres_database: str, second_database: str) -> Iterator[Guarded]:
    """A user whom the server asks for a password, one that URLs have to quote."""
    user, password = f"ann_{secrets.token_hex(4)}", f"p@ss/{secrets.token_hex(8)}:word"
    engine = create_engine(postgres_database, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'"))
        entries = Path(connection.execute(text("SHOW hba_file")).scalar_one())
        before = entries.read_text(encoding="utf-8")
        entries.write_text(f"local all {user} scram-sha-256\n{before}", encoding="utf-8")
        connection.execute(text("SELECT pg_reload_conf()"))
    urls = [make_url(url).set(username=user) for url in (postgres_database, second_database)]
    yield Guarded(*urls, password)
    with engine.connect() as connection:
        entries.write_text(before, encoding="utf-8")
        connection.execute(text("SELECT pg_reload_conf()"))


@pytest.fixture
def ray_files() -> Iterator[Path]:
    """A folder for all that Ray writes; its sockets want a short path."""
    folder = tempfile.mkdtemp(prefix="ray-")
    yield Path(folder)
    shutil.rmtree(folder)


def with_password(url: URL, password: str) -> str:
    """Return the URL with a password that is put in as it stands."""
    shown = url.set(password="PLACE").render_as_string(hide_password=False)
    return shown.replace("PLACE", password)


def test_a_password_stands_in_nothing_that_a_search_writes(
    workspace: Workspace,
    guarded: Guarded,
    ray_files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, guarded.password)
    monkeypatch.setenv("RAY_TMPDIR", str(ray_files))
    quoted = quote(guarded.password, safe="")
    workspace.write(
        storage=with_password(guarded.studies, f"${{{VARIABLE}}}"),
        tracking={"uri": with_password(guarded.record, quoted)},  # written out: it is masked
        training={"epochs": 2, "batch_size": 64},
        budget={"trials": 2},
    )
    assert workspace.search() == 0, workspace.said()
    told = "".join(workspace.refkd(c).stdout for c in ("status", "best", "doctor", "search"))
    study, record = (guarded.text_of(url) for url in (guarded.studies, guarded.record))
    files = [*workspace.runs.rglob("*"), *ray_files.rglob("*"), workspace.output]
    written = {str(p): p.read_bytes().decode("utf-8", "replace") for p in files if p.is_file()}
    assert f"${{{VARIABLE}}}" in study
    assert ":***@" in study
    assert "trial-0001" in record
    for place, words in {**written, "study": study, "record": record, "told": told}.items():
        assert guarded.password not in words, place
        assert quoted not in words, place

    monkeypatch.setenv(VARIABLE, "another")
    refused = workspace.refkd("status")
    assert refused.returncode == 2
    assert "check host, port, user and password" in refused.stderr
    assert "another" not in refused.stderr
