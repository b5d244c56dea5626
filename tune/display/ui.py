"""A study in a browser: MLflow and optuna-dashboard, both on this machine alone."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from refkd.errors import RefKDError
from refkd.urls import Url
from tune import compat
from tune.study.snapshot import open_snapshot
from tune.study.storage import JOURNAL, store_file

HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Page:
    """An address, and the server to start for it; none where one runs already."""

    name: str
    address: str
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    config: str | None = None
    """Content of a private file, whose path is the command's last word: it may hold a password."""
    shown: str = ""
    """The command as a person would type it, without passwords."""
    port: int = 0
    option: str = ""
    """What gives the server another port."""
    links: dict[str, str] = field(default_factory=dict)
    """Further addresses on the same server, by what they show."""
    hint: str = ""
    """What to do there first."""


def pages(
    where: Path | str, *, mlflow_port: int, dashboard_port: int, writable: bool = False
) -> list[Page]:
    """Return the pages of a study that was begun; raises `NoStudyError` otherwise.

    `where` is as for `open_snapshot`. Unless `writable`, optuna-dashboard changes nothing.
    """
    study, found = open_snapshot(where), list[Page]()
    if study.file.tracking.enabled:
        from tune.tracking.target import experiment_name

        champions = set(study.summary.champions.values())
        experiment = experiment_name(study.file)
        found.append(_mlflow(study.place.tracking, experiment, champions, mlflow_port))
    number = compat.study_id(study.optuna)
    found.append(_dashboard(study.place.storage, number, dashboard_port, writable=writable))
    return found


def check_port(page: Page) -> None:
    """Raise `RefKDError` where another program listens at the port of a page's server."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, page.port))
        except OSError:
            raise RefKDError(
                f"port {page.port} of {HOST} is taken; give another: {page.option}"
            ) from None


def _mlflow(uri: Url, experiment: str, champions: set[int], port: int) -> Page:
    served = uri.reveal().startswith(("http://", "https://"))
    root = str(uri).rstrip("/") if served else f"http://{HOST}:{port}"
    links = {what: f"{root}/#/{p}" for what, p in _links(uri, experiment, champions).items()}
    page = Page(
        name="MLflow",
        hint="unfold the study's run: its trials and teachers are below it" if links else "",
        address=links.pop("runs", root),
        links=links,
    )
    if served:
        return page
    return replace(
        page,
        command=[
            *(_program("mlflow"), "ui", "--host", HOST, "--port", str(port), "--workers", "1"),
            *("--allowed-hosts", f"{HOST}:{port},localhost:{port}"),
        ],
        environment={
            # Not on the command line: it may hold a password.
            "MLFLOW_BACKEND_STORE_URI": compat.store_address(uri.reveal()),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        shown=f"mlflow ui --backend-store-uri {quote(str(uri))} --host {HOST} --port {port}",
        port=port,
        option="--mlflow-port",
    )


def _links(uri: Url, experiment: str, champions: set[int]) -> dict[str, str]:
    """Return paths in MLflow's pages: the study's runs as charts, champions beside teachers."""
    from tune.tracking.reach import asked
    from tune.tracking.store import connect

    store = store_file(uri)
    if store is not None and not store.exists():
        raise RefKDError(
            f"{store}: no MLflow store yet; it appears when a search "
            "begins, or set tracking.enabled: false"
        )
    with asked(uri):
        client = connect(uri)
        held = client.get_experiment_by_name(experiment)
        if held is None:
            return {}
        runs = client.search_runs([held.experiment_id], max_results=1000)
    number = str(held.experiment_id)
    # Teachers come first in the order of their starts, so the charts draw them.
    links = {"runs": compat.charts_page(number)}
    compared = [run.info.run_id for run in runs if _is_compared(run.data.tags, champions)]
    if len(compared) > 1:
        links["champions and teachers side by side"] = compat.compare_page(number, compared)
    return links


def _is_compared(tags: Mapping[str, str], champions: set[int]) -> bool:
    """Return whether a run is a teacher's or a champion's."""
    role, trial = tags.get("refkd.role", ""), tags.get("refkd.trial")
    return role.startswith("teacher-") or (role == "student" and str(trial) in map(str, champions))


def _dashboard(storage: Url, study_id: int, port: int, *, writable: bool) -> Page:
    _program("optuna-dashboard")
    settings = {"storage": storage.reveal(), "host": HOST, "port": port, "writable": writable}
    return Page(
        name="optuna-dashboard",
        address=f"http://{HOST}:{port}/dashboard/studies/{study_id}",
        command=[sys.executable, "-m", "tune.display.dashboard"],
        config=json.dumps(settings),
        shown=f"optuna-dashboard {quote(str(storage).removeprefix(JOURNAL))} --host {HOST} "
        f"--port {port}",
        port=port,
        option="--dashboard-port",
    )


def _program(name: str) -> str:
    """Return a program of this environment, which need not be on the PATH."""
    path = Path(sys.executable).parent / name
    if not os.access(path, os.X_OK):
        raise RefKDError(f"{path}: not installed; run `pip install 'refkd[all]'`")
    return str(path)
