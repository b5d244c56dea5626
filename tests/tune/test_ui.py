"""`refkd ui`: both pages answer on loopback, no password is shown, and Ctrl-C ends both."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
import pytest
import yaml
from support.ports import reserve_port
from support.recording import by_name
from support.small_study import SmallStudy, make_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.urls import Url
from tune import compat
from tune.cli import app
from tune.display.dashboard import guarded
from tune.display.ui import HOST, pages
from tune.study.snapshot import open_snapshot
from tune.tracking.target import experiment_name
from tune.tracking.views import VIEWS, view_key

COMMAND = "from tune.cli import main; main()"


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str) -> SmallStudy:
    return make_study(tmp_path, tiny_dataset, tracking=mlflow_store)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["ui", *map(str, words)])


def test_print_names_the_pages_and_starts_nothing(study: SmallStudy, mlflow_store: str) -> None:
    mlflow, dashboard = json.loads(run(study.path, "--print", "--json").stdout)
    runs = by_name(mlflow_store, experiment_name(study.file))
    number = runs["quick"].info.experiment_id
    table, charts = (view_key("quick", view) for view in VIEWS)
    root = f"http://{HOST}:5000/#/"
    assert mlflow["address"] == root + compat.runs_page(number, table)
    axes, link = mlflow["links"].values()
    assert axes == root + compat.runs_page(number, charts, charts=True)
    asked = unquote(link.partition("runs=")[2].partition("&")[0])
    expected = {runs[name].info.run_id for name in ("trial-0000", "teacher-id", "teacher-ood")}
    assert set(json.loads(asked)) == expected
    assert dashboard["address"] == f"http://{HOST}:8080/dashboard/studies/1"
    shown = run(study.path, "--print")
    assert shown.exit_code == 0
    assert f"optuna-dashboard {study.url}" in shown.output
    assert f"mlflow ui --backend-store-uri {mlflow_store}" in shown.output


def test_a_tracking_server_is_named_and_not_started(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.display.ui._links", lambda *_: {"runs": "experiments/7/runs"})
    content = yaml.safe_load(study.path.read_text())
    content["tracking"]["uri"] = "http://ann:secret@tracking.example.org:5000/"
    study.path.write_text(yaml.safe_dump(content))
    mlflow, _ = json.loads(run(study.path, "--print", "--json").stdout)
    assert mlflow["address"] == "http://ann:***@tracking.example.org:5000/#/experiments/7/runs"
    assert mlflow["command"] is None


def test_no_password_is_on_a_command_line(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "postgresql+psycopg://ann:secret@db.example.org/studies"
    monkeypatch.setattr("tune.display.ui._links", lambda *_: {})
    seen = open_snapshot(study.path)
    secretive = replace(seen, place=replace(seen.place, storage=Url(secret), tracking=Url(secret)))
    vars(secretive)["optuna"] = seen.optuna  # there is no server to ask
    monkeypatch.setattr("tune.display.ui.open_snapshot", lambda _: secretive)
    found = pages(study.path, mlflow_port=1, dashboard_port=2)
    for page in found:
        assert "secret" not in " ".join([*page.command, page.shown])
        assert "secret" in f"{page.environment}{page.config}"
    assert len(found) == 2


def test_a_taken_port_is_named(study: SmallStudy) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(study.path, "--mlflow-port", port, "--dashboard-port", reserve_port())
    assert isinstance(done.exception, RefKDError)
    assert f"port {port} of {HOST} is taken; give another: --mlflow-port" in str(done.exception)


NAMES = ("127.0.0.1:8080", "localhost:8080")
OWN = {"HTTP_HOST": "127.0.0.1:8080"}


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (OWN, "200 OK"),
        ({"HTTP_HOST": "LocalHost:8080"}, "200 OK"),
        ({**OWN, "HTTP_ORIGIN": "http://localhost:8080"}, "200 OK"),
        ({**OWN, "REQUEST_METHOD": "HEAD"}, "200 OK"),
        ({}, "403 Forbidden"),
        ({"HTTP_HOST": "rebound.example.org:8080"}, "403 Forbidden"),
        ({"HTTP_HOST": "127.0.0.1:8081"}, "403 Forbidden"),
        ({**OWN, "HTTP_ORIGIN": "http://rebound.example.org:8080"}, "403 Forbidden"),
        ({**OWN, "HTTP_ORIGIN": "null"}, "403 Forbidden"),
        ({**OWN, "HTTP_ORIGIN": "http://[x"}, "403 Forbidden"),
        ({**OWN, "HTTP_ORIGIN": "https://127.0.0.1:8080"}, "403 Forbidden"),
        *[({**OWN, "REQUEST_METHOD": m}, "read-only") for m in ("POST", "PUT", "DELETE", "PATCH")],
    ],
)
@pytest.mark.parametrize("writable", [False, True])
def test_the_dashboard_answers_its_own_names_and_changes_nothing_unasked(
    request_of: dict[str, str], status: str, writable: bool
) -> None:
    answered: list[str] = []

    def page(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"the page"]

    door = guarded(page, NAMES, writable=writable)
    environ = {"REQUEST_METHOD": "GET", **request_of}
    body = b"".join(door(environ, lambda line, _: answered.append(line)))
    if status == "read-only":
        status = "200 OK" if writable else "403 Forbidden"
        assert writable or b"refkd ui --writable" in body
    assert answered == [status]
    assert (body == b"the page") == (status == "200 OK")


def refused(address: str, method: str = "GET", **headers: str) -> int:
    """Return the status of a request that a page on the internet could make a browser send."""
    request = urllib.request.Request(address, method=method, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=300)
    error.value.close()
    return error.value.code


@pytest.mark.system
@pytest.mark.parametrize(
    ("end", "storage"), [(signal.SIGINT, "sqlite"), (signal.SIGTERM, "journal")]
)
def test_both_answer_and_end_together(
    end: signal.Signals, storage: str, tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    url = f"journal:{tmp_path / 'study.journal'}" if storage == "journal" else None
    study = make_study(tmp_path, tiny_dataset, tracking=mlflow_store, storage=url)
    ports = reserve_port(), reserve_port()
    words = ["--mlflow-port", str(ports[0]), "--dashboard-port", str(ports[1])]
    program = subprocess.Popen(
        [sys.executable, "-u", "-c", COMMAND, "ui", str(study.path), *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    lines = [program.stdout.readline()]
    while "ready" not in lines[-1]:
        assert lines[-1], lines
        lines.append(program.stdout.readline())
    started = psutil.Process(program.pid).children(recursive=True)
    assert len(started) >= 2
    hosts = {
        c.laddr.ip for p in started for c in p.net_connections("inet") if c.status == "LISTEN"
    }
    assert hosts == {HOST}
    for address in (f"http://{HOST}:{ports[0]}/health", f"http://{HOST}:{ports[1]}/api/studies"):
        with urllib.request.urlopen(address, timeout=300) as answer:
            assert answer.status == 200
    with urllib.request.urlopen(f"http://{HOST}:{ports[1]}/api/studies", timeout=300) as answer:
        assert b"quick" in answer.read()
    studies = f"http://{HOST}:{ports[1]}/api/studies"
    for address in (studies, f"http://{HOST}:{ports[0]}/api/2.0/mlflow/experiments/search"):
        assert refused(address, Host="rebound.example.org") == 403
        assert refused(address, "POST", Origin="http://rebound.example.org") == 403
    assert refused(f"{studies}/1", "DELETE") == 403
    with urllib.request.urlopen(studies, timeout=300) as answer:
        assert b"quick" in answer.read()
    os.kill(program.pid, end)
    assert program.wait(300) == 0
    program.stdout.close()
    until = time.monotonic() + 300
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in started):
        assert time.monotonic() < until, "a server outlived the command"
        time.sleep(0.1)
