"""The tracker and a real server, started as mlflow/server.sh says, that dies in the middle."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from support.recording import SECONDS, by_name, check_everything, runs, tell_everything, tracker

from tune.record.courier import Delivery

if TYPE_CHECKING:
    from support.tracking_server import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        # MLflow's own imports, which nothing here can mend.
        "ignore::DeprecationWarning:mlflow.*",
        "ignore::FutureWarning:mlflow.*",
    ),
]


def test_a_server_killed_and_started_again_misses_nothing(
    mlflow_server: Server, tmp_path: Path
) -> None:
    uri, experiment = mlflow_server.uri, "refkd/killed"
    track = tracker(uri, tmp_path, experiment)
    tell_everything(track, tmp_path, trials=2, epochs=20)
    while len(runs(uri, experiment)) < 2:
        time.sleep(0.05)
    mlflow_server.kill()
    tell_everything(track, tmp_path, trials=4, epochs=20)
    time.sleep(3)  # long enough for the courier to meet the outage
    mlflow_server.start()
    assert track.close(SECONDS) == Delivery()
    check_everything(uri, experiment, trials=4, epochs=20)


def test_a_launch_that_ends_in_an_outage_is_made_up_for_by_the_next(
    mlflow_server: Server, tmp_path: Path
) -> None:
    uri, experiment = mlflow_server.uri, "refkd/outage"
    mlflow_server.kill()
    track = tracker(uri, tmp_path, experiment)
    tell_everything(track, tmp_path, trials=1)
    delivery = track.close(SECONDS)
    assert (delivery.left, delivery.rejected) == (7, 0)
    assert "Connection refused" in str(delivery.problem)
    mlflow_server.start()
    again = tracker(uri, tmp_path, experiment)
    tell_everything(again, tmp_path, trials=2)
    assert again.close(SECONDS) == Delivery()
    check_everything(uri, experiment, trials=2)


def test_files_go_through_the_server_and_nothing_is_printed(
    mlflow_server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri, experiment = mlflow_server.uri, "refkd/files"
    track = tracker(uri, tmp_path, experiment)
    note = tmp_path / "note.txt"
    note.write_text("through the proxy")
    track.run_started("files", "files", {}, {})
    track.artifact("files", note, "notes")
    track.run_ended("files", "FINISHED", {}, {})
    assert track.close(SECONDS) == Delivery()
    assert capfd.readouterr() == ("", "")
    run = by_name(uri, experiment)["files"]
    copy = MlflowClient(uri).download_artifacts(run.info.run_id, "notes/note.txt", str(tmp_path))
    assert Path(copy).read_text() == "through the proxy"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")


def test_a_foreign_host_is_refused(mlflow_server: Server) -> None:
    request = urllib.request.Request(
        f"{mlflow_server.uri}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Host": "rebound.example.org"},
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=30)
    assert refusal.value.code == 403
    refusal.value.close()


def test_the_server_is_one_small_process_group_on_loopback(mlflow_server: Server) -> None:
    import psutil

    found = [p for p in psutil.process_iter() if mlflow_server.uses(p.pid)]
    assert 1 <= len(found) <= 3
    hosts = {c.laddr.ip for p in found for c in p.net_connections("inet") if c.status == "LISTEN"}
    assert hosts == {"127.0.0.1"}
