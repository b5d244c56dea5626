"""Storages: what opens, what survives a crash, and that no password is ever shown."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url, text

from tune.study.storage import (
    StorageError,
    close_storage,
    database_url,
    file_of,
    mend_journal,
    open_storage,
)

SECRET = "s3cret"


def test_a_study_lives_on_after_it_is_closed(storage_url: str) -> None:
    storage = open_storage(storage_url)
    study = optuna.create_study(study_name="quick", storage=storage)
    study.set_user_attr("a", {"b": [1.5, None]})
    study.tell(study.ask(), 1.0)
    close_storage(storage)
    again = open_storage(storage_url)
    loaded = optuna.load_study(study_name="quick", storage=again)
    assert loaded.user_attrs == {"a": {"b": [1.5, None]}}
    assert [trial.values for trial in loaded.trials] == [[1.0]]
    close_storage(again)


def test_sqlite_writes_ahead(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'new' / 'study.db'}")
    assert isinstance(storage, optuna.storages.RDBStorage)
    with storage.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1
    close_storage(storage)


def test_a_storage_with_a_password_is_never_pickled(storage_url: str) -> None:
    storage = open_storage(storage_url)
    if isinstance(storage, optuna.storages.RDBStorage):
        study = optuna.create_study(study_name="quick", storage=storage)
        for holder in (storage, study):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(holder)
    close_storage(storage)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "is no URL; use sqlite:///FILE"),
        (f"postgresql+psycopg://ann:{SECRET}@host:port/db", "is no URL"),
        (f"mysql://ann:{SECRET}@host/db", "a study cannot live in 'mysql'"),
        ("sqlite://", "is memory"),
        ("sqlite:///:memory:", "is memory"),
        (f"postgresql+nothing://ann:{SECRET}@host/db", "names a driver that does not exist"),
        (f"postgresql+pg8000://ann:{SECRET}@host/db", "driver is missing .*refkd.postgres"),
        (f"postgresql://ann:{SECRET}@host.invalid/db", "check host, port, user and password"),
        (f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:9/db", "check host, port"),
        ("sqlite:////proc/nowhere/study.db", "check that the file is a study's"),
        ("journal:/proc/nowhere/study.journal", "give a file in a folder that can be written"),
    ],
)
def test_what_cannot_be_opened_is_one_line_without_the_password(url: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        open_storage(url)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_database_that_is_missing(postgres_url: str) -> None:
    url = make_url(postgres_url).set(database="nowhere", password=SECRET)
    with pytest.raises(StorageError, match=r'"nowhere" does not exist.*create what') as caught:
        open_storage(url.render_as_string(hide_password=False))
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_storage(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("this is a text\nof two lines, long enough to be read as a header of a page\n")
    with pytest.raises(StorageError, match="cannot be used: file is not a database;"):
        open_storage(f"sqlite:///{path}")
    with pytest.raises(StorageError, match="is no journal of Optuna"):
        open_storage(f"journal:{path}")


@pytest.mark.parametrize("name", ["postgresql", "postgres"])
def test_postgresql_means_psycopg_3(name: str) -> None:
    assert database_url(f"{name}://ann@host/db").drivername == "postgresql+psycopg"
    assert database_url("postgresql+psycopg2://ann@host/db").get_driver_name() == "psycopg2"


def test_the_file_of_a_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = tmp_path.resolve() / "a.db"
    for url in ("sqlite:///a.db", f"sqlite:///{tmp_path}/x/../a.db", "journal:a.db"):
        assert file_of(url) == expected
    assert file_of("postgresql://ann@host/a.db") is None


@given(lines=st.lists(st.binary(max_size=20)), torn=st.binary(max_size=20))
def test_a_torn_line_is_cut_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bytes
) -> None:
    whole = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    torn = torn.replace(b"\n", b"")
    path = tmp_path_factory.getbasetemp() / "torn.journal"
    path.write_bytes(whole + torn)
    assert mend_journal(path) == len(torn)
    assert path.read_bytes() == whole


def test_opening_a_journal_loads_no_database_library(tmp_path: Path) -> None:
    code = (
        "import sys; from tune.study.storage import file_of; from refkd.masking import masked; "
        "file_of('journal:x'); masked('postgresql://a:b@c/d'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"sqlalchemy", "optuna"} & set(done.stdout.split()) == set()
