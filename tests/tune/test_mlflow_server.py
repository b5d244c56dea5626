"""The server that `mlflow/` deploys: on PostgreSQL, and behind a closed door."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.recording import SECONDS, check_everything, put_everything, tracker
from support.simulated_search import check, recorded_file, search

from refkd.data.dataset import Dataset
from tune.tracking.delivery import Delivered

if TYPE_CHECKING:
    from support.tracking_server import Server

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"
)


def programs() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def other_server(tmp_path: Path) -> Iterator[Server]:
    """A server set by the environment, in a folder that no URL holds as it is."""
    from support.tracking_server import Server as Started

    server = Started(tmp_path / "exp?lr=1 #2 %20ü")
    server.workspace.mkdir()
    yield server
    server.kill()


@pytest.mark.system
def test_a_server_on_postgresql_holds_the_record(
    postgres_database: str,
    tiny_dataset: Dataset,
    other_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFKD_STORE", postgres_database)
    other_server.start()
    assert not (other_server.workspace / "mlflow.db").exists()
    arguments = [process.cmdline() for process in other_server.processes()]
    assert arguments
    assert postgres_database not in str(arguments), "everybody here can read the password"
    file = recorded_file(tmp_path, other_server.uri)
    check(search(file, tiny_dataset, tmp_path), other_server.uri)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"REFKD_HOST": "0.0.0.0"}, "without REFKD_AUTH=basic everybody there could write"),
        ({"REFKD_AUTH": "token"}, "REFKD_AUTH is 'token'; say basic or none"),
        ({"REFKD_STORE": "sqlite:///runs/x.db"}, "write sqlite:////ABSOLUTE/PATH.db"),
    ],
)
def test_an_open_server_is_refused(settings: dict[str, str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", str(ROOT / "mlflow" / "server.sh")],
        env={**os.environ, "REFKD_WORKSPACE": str(tmp_path / "runs"), **settings},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_first_start_needs_a_password(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", str(ROOT / "mlflow" / "server.sh")],
        env={
            **os.environ,
            "PATH": programs(),
            "REFKD_WORKSPACE": str(tmp_path),
            "REFKD_AUTH": "basic",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert "set MLFLOW_AUTH_ADMIN_PASSWORD" in done.stderr


@pytest.mark.system
def test_a_server_with_passwords_takes_a_search_that_knows_one(
    other_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "a long enough passphrase"
    monkeypatch.setenv("REFKD_AUTH", "basic")
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", password)
    other_server.start()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("exp")] == ["exp?lr=1 #2 %20ü"]
    for name in ("basic_auth.ini", "basic_auth.db", "server.key", "mlflow.db"):
        assert (other_server.workspace / name).stat().st_mode & 0o077 == 0
    address = f"{other_server.uri}/api/2.0/mlflow/experiments/search?max_results=1"
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(address, timeout=300)
    assert refusal.value.code == 401
    refusal.value.close()
    secret = base64.b64encode(f"admin:{password}".encode()).decode()
    request = urllib.request.Request(address, headers={"Authorization": f"Basic {secret}"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        assert answer.status == 200
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    track = tracker(other_server.uri, tmp_path, "refkd/auth")
    put_everything(track, tmp_path)
    assert track.close(SECONDS) == Delivered()
    check_everything(other_server.uri, "refkd/auth")
