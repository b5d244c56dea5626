"""Locks under the lease: a server's that loses its connection, a journal's that the dead left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tune.study.driver_lock import STALE, settle_journal
from tune.study.lease import lease
from tune.study.server_lock import ServerLock

STUDY = "quick"


def test_a_lost_connection_is_made_again(postgres_url: str) -> None:
    from sqlalchemy import create_engine, text

    lock, other = ServerLock(postgres_url, "lost"), ServerLock(postgres_url, "lost")
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks "
        "WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    )
    assert lock.acquire()
    assert not other.acquire()
    with admin.connect() as connection:
        connection.execute(kill)
    assert lock.acquire(), "taken again"
    assert not other.acquire()
    with admin.connect() as connection:
        connection.execute(kill)
    assert other.acquire()
    assert not lock.acquire(), "somebody was faster"
    other.release()
    assert lock.acquire()
    lock.release()
    admin.dispose()


def test_a_dead_writers_journal_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    url = f"journal:{path}"
    with lease(url, STUDY, signs=[1.0, 1.0]):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 2, "stu')
    path.with_name(path.name + ".lock").symlink_to(path)
    begun = time.monotonic()
    assert settle_journal(path) == 19
    assert time.monotonic() - begun > STALE
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir() if ".lock" in p.name] == []
    with lease(url, STUDY, signs=[1.0, 1.0]) as mine:
        assert mine.process == os.getpid()


def test_a_live_writers_lock_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.journal"
    path.write_bytes(b"")
    link = path.with_name(path.name + ".lock")
    link.symlink_to(path)
    sleep, seen = time.sleep, []

    def append(seconds: float) -> None:
        seen.append(seconds)
        sleep(0.01)
        link.unlink(missing_ok=True)
        if len(seen) < 4:
            link.symlink_to(path)

    monkeypatch.setattr("tune.study.driver_lock.time.sleep", append)
    begun = time.monotonic()
    assert settle_journal(path) == 0
    assert len(seen) == 4
    assert time.monotonic() - begun < STALE
