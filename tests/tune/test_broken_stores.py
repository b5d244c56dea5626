"""Stores that are not what they should be: one line with a remedy from every command, soon."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sqlalchemy import create_engine, event, inspect, make_url, text
from support.broken_stores import SECRET, SERVED, broken, deaf, locked, served
from support.commands import LOOKS, WRITES, is_one_line, run_refkd
from support.ended_study import EndedStudy, end_study
from support.ports import reserve_port

from refkd.data.dataset import Dataset
from refkd.urls import Url
from tune.ending.exits import UnfinishedError
from tune.study.database import SILENCE
from tune.study.storage import StorageError, close_storage, open_storage, to_be_continued
from tune.tracking.reach import TrackingError, check, check_apart, check_start

STORAGES = {
    "text": "not a database; check that the file is a study's",
    "folder": "cannot be used",
    "damaged": "malformed|not a database",
    "a record": "holds the tables of MLflow.*a database of its own",
    "revision v9.9.9.a": "is no longer compatible .*; keep a copy, then try updating optuna",
    "revision v3.0.0.d": "is no longer compatible .*; keep a copy, then execute .* upgrade",
    "revision mine": "holds the tables of another program",
    "journal text": "is no journal of Optuna",
    "journal line": "is no journal of Optuna",
    "journal json": "is no journal of Optuna",
    "journal:FOLDER": "Is a directory",
    "down": "check host, port, user and password, and that the server runs",
    "./mlruns": "is no URL; use sqlite",
    "s3://KEY:s3cret@bucket/study": "cannot live in 's3'",
    "sqlite://": "memory that ends with the process",
    f"mysql+pymysql://ann:{SECRET}@host/studies": "cannot live in 'mysql'",
    f"postgresql+pg8000://ann:{SECRET}@host/studies": "driver is missing",
}
RECORDS = {
    "text": "not a database; check that the file is MLflow's",
    "folder": "is a folder; name a file in it",
    "damaged": "malformed|not a database",
    "a study": "holds a study of Optuna.*a database of its own",
    "revision 0584bdc529eb": "another version of MLflow .*mlflow db upgrade",
    "revision ffffffffffff": "another version of MLflow .*install that version",
    "./mlruns": "no record can be kept there; use http",
    "FOLDER/mlruns": "no record can be kept there",
    "file://FOLDER/mlruns": "no record can be kept there",
    "s3://KEY:s3cret@bucket/mlflow": "no record can be kept there",
    "databricks": "no record can be kept there",
    "sqlite://": "memory that ends with the process; use sqlite:///FILE",
    "sqlite:///:memory:": "memory that ends with the process",
    f"mysql+pymysql://ann:{SECRET}@host/mlflow": "driver is missing .*install it",
    f"postgresql+nothing://ann:{SECRET}@host/mlflow": "driver is missing",
    "http://": "is no address",
    "refusing the user": "refuses this user .*check user and password",
    "forbidden to the user": "refuses this user",
    "a page": "no MLflow of version 3",
    "an older MLflow": "no MLflow of version 3",
}
"""What can never keep a record."""
AWAY = {
    "down": "check host, port, user and password",
    "http://ann:s3cret@127.0.0.1:PORT": "does not answer",
    "overloaded": "does not answer",
    "failing": "does not answer",
    "behind a dead proxy": "does not answer",
    "deaf http": "does not answer",
    "deaf postgresql": "timeout|cannot be used",
    "locked": "database is locked; wait for the process",
}
"""What may keep it later."""
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
]


@pytest.fixture(autouse=True)
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for nobody, and put back what the command line sets for a whole process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr("tune.study.database.LOCK_SECONDS", 0)
    monkeypatch.setattr("tune.study.sqlite_view.LOCK_SECONDS", 0)
    monkeypatch.setattr("tune.study.database.CONNECT_SECONDS", 2)
    before = logging.getLogRecordFactory(), warnings.formatwarning, threading.excepthook
    yield
    logging.setLogRecordFactory(before[0])
    warnings.formatwarning, threading.excepthook = before[1:]


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    tune = {"space": {"recipe.w_kl": {"float": [0.1, 3.0]}}, "trials": 1}
    teachers = {"ood": {"recipe": "refkd_text", "tune": tune}}
    return end_study(tmp_path, tiny_dataset, teachers=teachers)


def of_all(
    study: EndedStudy, monkeypatch: pytest.MonkeyPatch, code: int, said: str, but: str = ""
) -> None:
    """Check all commands, of which none may write to what it does not know."""
    for commands in (LOOKS, WRITES):
        for name, more in commands.items():
            if name == but and not more:
                continue
            is_one_line(run_refkd(monkeypatch, name, study.path, *more), code, said)
    is_one_line(run_refkd(monkeypatch, "compare", study.path, study.path), code, said)


@pytest.mark.parametrize("kind", STORAGES)
def test_a_storage_that_holds_no_study(
    kind: str,
    study: EndedStudy,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = broken(kind, tmp_path, study=study.file.folder / "study.db", record=empty_store)
    study.change(storage=url, tracking={"uri": f"sqlite:///{tmp_path / 'mlflow.db'}"})
    before = content(tmp_path / "store")
    of_all(study, monkeypatch, 2, STORAGES[kind])
    if "://" in url or url.startswith("journal:"):
        is_one_line(run_refkd(monkeypatch, "status", url), 2, STORAGES[kind])
    assert content(tmp_path / "store") == before


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def test_a_storage_that_another_process_holds(
    study: EndedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(study.file.folder / "study.db"):
        said = "database is locked; wait for the process that holds it"
        of_all(study, monkeypatch, 2, said, but="doctor")
        assert run_refkd(monkeypatch, "doctor", study.path).code == 0, "it looks at a copy"


def unbegun(study: EndedStudy, uri: str) -> None:
    """Let the study file name another study, and a tracking store."""
    study.change(name="fresh", tracking={"uri": uri})


@pytest.mark.parametrize("kind", RECORDS)
def test_a_tracking_store_that_can_never_keep_the_record(
    kind: str,
    study: EndedStudy,
    tiny_dataset: Dataset,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with record_of(kind, study, empty_store, tmp_path) as uri:
        unbegun(study, uri)
        is_one_line(run_refkd(monkeypatch, "search", study.path), 2, RECORDS[kind])
        assert not (study.file.workspace / "studies" / "fresh").exists(), "nothing is begun"
        study.change(name="ended")
        for name in ("finalists", "sync", "promote"):
            ended = run_refkd(monkeypatch, name, study.path, *WRITES[name])
            is_one_line(ended, 2, RECORDS[kind])
        np.save(tmp_path / "video.npy", np.ones((4, 8), dtype=np.float32))
        asked = ["--model", "models:/refkd-ended@best-ood", "--features", tmp_path / "video.npy"]
        predict = ["predict", *asked, "--query", "a"]
        is_one_line(run_refkd(monkeypatch, *predict, "--tracking", uri), 2, RECORDS[kind])
        table = ["reproduce", "table1", "--scale", "smoke", "--dataset", tiny_dataset.path]
        is_one_line(run_refkd(monkeypatch, *table, "--tracking", uri), 2, RECORDS[kind])
        if not uri.startswith("http"):
            is_one_line(run_refkd(monkeypatch, "ui", study.path, "--print"), 2, RECORDS[kind])
        doctor = run_refkd(monkeypatch, "doctor", study.path)
        assert (doctor.code, doctor.err) == (1, "")
        said = f"{RECORDS[kind].split('.*')[0].split(';')[0]}|is no store of MLflow"
        assert re.search(rf"\[record\] .*(?:{said})", doctor.out)
        for name in ("status", "best", "report"):
            assert run_refkd(monkeypatch, name, study.path).code == 0
        assert not (tmp_path / "mlruns").exists()


def record_of(
    kind: str, study: EndedStudy, empty_store: Path, folder: Path
) -> AbstractContextManager[str]:
    """Give the URI of a tracking store of a kind."""
    if kind in SERVED:
        return served(kind)
    database = study.file.folder / "study.db"
    return nullcontext(broken(kind, folder, study=database, record=empty_store))


@pytest.mark.parametrize("kind", AWAY)
def test_a_tracking_store_that_is_away(
    kind: str,
    study: EndedStudy,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as held:
        if kind.startswith("deaf"):
            place = held.enter_context(deaf())
            uri = f"http://ann:{SECRET}@{place}"
            if kind == "deaf postgresql":
                uri = f"postgresql+psycopg://ann:{SECRET}@{place}/mlflow"
        elif kind == "locked":
            shutil.copy(empty_store, tmp_path / "mlflow.db")
            held.enter_context(locked(tmp_path / "mlflow.db"))
            uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        else:
            named = kind.replace("PORT", str(reserve_port()))
            uri = held.enter_context(record_of(named, study, empty_store, tmp_path))
        study.change(tracking={"uri": uri})
        said = check_start(Url(study.url), Url(uri))
        assert said is not None
        assert re.search(f"(?:{AWAY[kind]}).*what MLflow lacks is sent later", said)
        ended = run_refkd(monkeypatch, "sync", study.path)
        assert ended.code == 3, ended
        assert re.search(
            rf"\d+ left \(.*(?:{AWAY[kind]}).*\); run the same command again", ended.out
        )
        assert ended.err == ""
        promote = run_refkd(monkeypatch, "promote", study.path, *WRITES["promote"])
        is_one_line(promote, 2, AWAY[kind].split(";")[0])
        doctor = run_refkd(monkeypatch, "doctor", study.path)
        assert (doctor.code, doctor.err) == (1, "")
        assert SECRET not in doctor.out + ended.out
        for name in ("status", "best"):
            assert run_refkd(monkeypatch, name, study.path).code == 0


def linked(link: Callable[[Path, Path], None], path: Path, to: Path) -> Path:
    link(path, to)
    return path


@pytest.mark.parametrize("name", ["itself", "spelt", "link", "hard link", "quoted", "uri"])
def test_one_file_for_study_and_record_is_refused_before_anything_is_written(
    name: str, study: EndedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    path = folder / "one.db"
    if name.endswith("link"):
        path.touch()
    other = {
        "itself": lambda: f"sqlite:///{path}",
        "spelt": lambda: f"sqlite:///{folder}/../a b/one.db",
        "link": lambda: f"sqlite:///{linked(Path.symlink_to, tmp_path / 'x', path)}",
        "hard link": lambda: f"sqlite:///{linked(Path.hardlink_to, tmp_path / 'x', path)}",
        "quoted": lambda: f"sqlite:///{str(path).replace(' ', '%20')}",
        "uri": lambda: f"sqlite:///file:{path}?uri=true",
    }[name]()
    study.change(name="fresh", storage=f"sqlite:///{path}", tracking={"uri": other})
    for words in (["search"], ["teach", "--tune"]):
        ended = run_refkd(monkeypatch, words[0], study.path, *words[1:])
        is_one_line(
            ended, 2, "is the database of the study .*; give one of them a database of its"
        )
    assert content(path) in (None, b"")


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mlflow.db"
    for write in (False, True):
        check(Url(f"sqlite:///{path}"), write=write)
    assert not path.parent.exists()
    sqlite3.connect(tmp_path / "empty.db").close()
    check(Url(f"sqlite:///{tmp_path / 'empty.db'}"))
    with pytest.raises(TrackingError, match="cannot be written; make it writable"):
        check(Url(f"sqlite:///{tmp_path / 'empty.db'}/mlflow.db"), write=True)


@pytest.fixture
def alias(postgres_database: str, tmp_path: Path) -> str:
    """The URL of a database by another name of its server's place."""
    url = make_url(postgres_database)
    place = tmp_path / "place"
    place.symlink_to(str(url.query["host"]))
    named = url.update_query_dict({"host": str(place), "application_name": "another"})
    return named.render_as_string(hide_password=False)


def test_one_database_of_a_server_is_refused_however_it_is_named(
    postgres_database: str,
    second_database: str,
    alias: str,
    study: EndedStudy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study.change(name="fresh", storage=postgres_database, tracking={"uri": alias})
    for words in (["search"], ["teach", "--tune"]):
        ended = run_refkd(monkeypatch, words[0], study.path, *words[1:])
        is_one_line(ended, 2, "is the database of the study .*createdb NAME.*CREATE SCHEMA NAME")
    engine = create_engine(postgres_database)
    with engine.begin() as connection:
        assert not inspect(connection).get_table_names()
        connection.execute(text("CREATE SCHEMA record"))
    engine.dispose()
    own = make_url(alias).update_query_dict({"options": "-csearch_path=record"})
    for other in (second_database, own.render_as_string(hide_password=False)):
        check_apart(Url(postgres_database), Url(other))
        check(Url(other), write=True)
    both = own.update_query_dict({"options": "-csearch_path=record,public"})
    with pytest.raises(TrackingError, match="is the database of the study"):
        check_apart(Url(postgres_database), Url(both.render_as_string(hide_password=False)))


def test_a_server_that_goes_away_and_comes_back(
    postgres_database: str, second_database: str
) -> None:
    """An error of an open storage is one line, and what comes later works."""
    storage = open_storage(postgres_database)
    study = optuna.create_study(study_name="quick", storage=storage)
    assert isinstance(storage, optuna.storages.RDBStorage)
    raw: Any = storage.engine.raw_connection()
    held = raw.driver_connection.info.get_parameters()
    assert {k: held[k] for k in SILENCE} == {k: str(v) for k, v in SILENCE.items()}
    raw.close()
    name = make_url(postgres_database).database
    engine = create_engine(second_database, isolation_level="AUTOCOMMIT")
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(end))
        for use in (study.ask, lambda: study.trials, lambda: study.set_user_attr("a", 1)):
            with pytest.raises(StorageError, match=r"cannot be used: .*; ") as caught:
                use()
            assert "\n" not in str(caught.value)
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    study.tell(study.ask(), 1.0)
    assert [trial.values for trial in study.trials] == [[1.0]]
    close_storage(storage)
    engine.dispose()


def test_a_full_disk_under_an_open_storage(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    assert isinstance(storage, optuna.storages.RDBStorage)
    study = optuna.create_study(study_name="quick", storage=storage)
    storage.engine.dispose()
    event.listen(storage.engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=1"))
    with (
        pytest.raises(UnfinishedError, match="disk is full; free some space, then run the same"),
        to_be_continued(),
    ):
        study.set_user_attr("long", "x" * 1_000_000)
    close_storage(storage)


def test_a_full_disk_under_an_open_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=open_storage(f"journal:{tmp_path / 'study.journal'}"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        study.set_user_attr("a", 1)
