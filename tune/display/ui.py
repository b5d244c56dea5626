"""A study in a browser: MLflow and optuna-dashboard, both on this machine alone."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from refkd.errors import RefKDError
from refkd.urls import Url
from tune import compat
from tune.study.snapshot import StudySnapshot, open_snapshot
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

        experiment = experiment_name(study.file)
        found.append(_mlflow(study.place.tracking, experiment, study, mlflow_port))
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


def _mlflow(uri: Url, experiment: str, study: StudySnapshot, port: int) -> Page:
    served = uri.reveal().startswith(("http://", "https://"))
    root = str(uri).rstrip("/") if served else f"http://{HOST}:{port}"
    links = {what: f"{root}/#/{p}" for what, p in _links(uri, experiment, study).items()}
    page = Page(
        name="MLflow",
        hint="teachers and trials, the best first objective on top" if links else "",
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


def _links(uri: Url, experiment: str, study: StudySnapshot) -> dict[str, str]:
    """Return paths in MLflow's pages: trials as a table and as charts, champions and teachers."""
    from tune.tracking.reach import asked
    from tune.tracking.store import connect
    from tune.tracking.views import VIEWS, view_key

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
        compared = [
            run.info.run_id
            for asked_for in _compared(study)
            for run in client.search_runs([held.experiment_id], asked_for)
        ]
    number, keys = str(held.experiment_id), {view: view_key(study.name, view) for view in VIEWS}
    # A record of refkd 0.1 has none, and a server may have refused one.
    kept = {v: key for v, key in keys.items() if f"{compat.SHARED_VIEW}{key}" in held.tags}
    links = {"runs": compat.runs_page(number, kept.get("table"))}
    if "charts" in kept:
        page = compat.runs_page(number, kept["charts"], charts=True)
        links["searched values and scores"] = page
    if len(compared) > 1:
        links["champions and teachers side by side"] = compat.compare_page(number, compared)
    return links


def _compared(study: StudySnapshot) -> list[str]:
    """Return what selects the run of each champion and teacher of a study."""
    of_study = f"tags.`refkd.study_name` = '{study.name}' AND tags."
    champions = set(study.summary.champions.values())
    trials = [f"{of_study}`refkd.trial` = '{number}'" for number in sorted(champions)]
    return trials + [f"{of_study}`refkd.role` = 'teacher-{role}'" for role in ("id", "ood")]


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
