"""A whole search beside a real server that dies, is down, slow, or answers with errors."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.bad_proxy import BadProxy
from support.recording import runs
from support.simulated_search import check, recorded_file, search

from refkd.data.dataset import Dataset
from tune.tracking import delivery
from tune.tracking.target import experiment_name

if TYPE_CHECKING:
    from support.tracking_server import Server

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings(
        # MLflow's own imports, which nothing here can mend.
        "ignore::DeprecationWarning:mlflow.*",
        "ignore::FutureWarning:mlflow.*",
    ),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(delivery, "LONGEST_WAIT", 0.5)
    monkeypatch.setattr("tune.tracking.record.CLOSE_SECONDS", 120.0)
    monkeypatch.setattr("tune.tracking.record.STRUGGLING_SHARE", 1e6)  # until all is delivered


def test_a_server_killed_in_the_middle_and_started_again(
    mlflow_server: Server, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    file = recorded_file(tmp_path, mlflow_server.uri)
    restarted = threading.Thread(target=mlflow_server.start)

    def disturb(number: int) -> None:
        if number == 2:
            while len(runs(mlflow_server.uri, experiment_name(file))) < 2:
                pass
            mlflow_server.kill()
        if number == 4:
            restarted.start()

    study = search(file, tiny_dataset, tmp_path, before=disturb)
    restarted.join()
    search(file, tiny_dataset, tmp_path)  # should the server have come up too late
    check(study, mlflow_server.uri)


def test_a_server_that_is_down_from_the_start(
    mlflow_server: Server,
    tiny_dataset: Dataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mlflow_server.kill()
    file = recorded_file(tmp_path, mlflow_server.uri)
    study = search(file, tiny_dataset, tmp_path, trials=4)
    assert "events did not reach MLflow" in caplog.text
    mlflow_server.start()
    search(file, tiny_dataset, tmp_path)
    check(study, mlflow_server.uri)


def test_a_server_that_accepts_and_never_answers_holds_up_nobody(
    mlflow_server: Server,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All trials end while the first request is still unanswered."""
    monkeypatch.setattr("tune.tracking.record.CLOSE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        uri = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        file = recorded_file(tmp_path, uri)
        study = search(file, tiny_dataset, tmp_path)
        assert study.left() == 0
    monkeypatch.setattr("tune.tracking.record.CLOSE_SECONDS", 120.0)
    search(recorded_file(tmp_path, mlflow_server.uri), tiny_dataset, tmp_path)
    check(study, mlflow_server.uri)


@pytest.mark.parametrize(
    ("mode", "timeout"), [("error", "10"), ("lost", "10"), ("slow", "1")], ids=lambda v: v
)
def test_a_server_that_spoils_every_third_request(
    mode: str,
    timeout: str,
    mlflow_uri: str,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is lost is sent again; what is slow arrives after the client has given it up."""
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.3)  # by then what was late has arrived
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", timeout)
    monkeypatch.setattr(delivery, "PATIENCE", 40)
    with BadProxy(mlflow_uri, spoil(mode), delay=1.1) as proxy:
        file = recorded_file(tmp_path, proxy.uri)
        study = search(file, tiny_dataset, tmp_path)
        for _ in range(3):
            search(file, tiny_dataset, tmp_path)
        assert proxy.spoiled > 5
        check(study, mlflow_uri)


def spoil(mode: str) -> Callable[[int], str]:
    draw = random.Random(0)
    return lambda number: mode if draw.random() < 1 / 3 else "well"
