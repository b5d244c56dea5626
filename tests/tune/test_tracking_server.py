"""The tracker and a real server, started as `mlflow/server.sh` starts it."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from mlflow import MlflowClient
from support.recording import SECONDS, by_name, tracker
from support.shared import members

from tune.tracking.delivery import Delivered

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own imports, which nothing here can mend.
    "ignore::DeprecationWarning:mlflow.*",
    "ignore::FutureWarning:mlflow.*",
)


def test_files_go_through_the_server_and_nothing_is_printed(
    mlflow_uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri, experiment = mlflow_uri, "refkd/files"
    track = tracker(uri, tmp_path, experiment)
    note = tmp_path / "note.txt"
    note.write_text("through the proxy")
    track.run_started("files", "files", {}, {})
    track.artifact("files", note, "notes")
    track.run_ended("files", "FINISHED", {}, {})
    assert track.close(SECONDS) == Delivered()
    assert capfd.readouterr() == ("", "")
    run = by_name(uri, experiment)["files"]
    copy = MlflowClient(uri).download_artifacts(run.info.run_id, "notes/note.txt", str(tmp_path))
    assert Path(copy).read_text() == "through the proxy"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")


def test_a_foreign_host_is_refused(mlflow_uri: str) -> None:
    request = urllib.request.Request(
        f"{mlflow_uri}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Host": "rebound.example.org"},
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=300)
    assert refusal.value.code == 403
    refusal.value.close()


def test_the_server_is_one_small_process_group_on_loopback(mlflow_uri: str) -> None:
    port = urlsplit(mlflow_uri).port
    held = [c for c in psutil.net_connections("inet") if c.status == "LISTEN"]
    (group,) = {os.getpgid(c.pid) for c in held if c.laddr.port == port and c.pid}
    found = members(group)
    assert 1 <= len(found) <= 3
    hosts = {c.laddr.ip for p in found for c in p.net_connections("inet") if c.status == "LISTEN"}
    assert hosts == {"127.0.0.1"}
