"""`mlflow run` on every entry point of `mlflow/`, and what its environments are made of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from support.commands import parse
from support.project import ROOT

from tune.cluster.versions import read_lock

FOLDER = ROOT / "mlflow"
PROJECT: dict[str, Any] = yaml.safe_load((FOLDER / "MLproject").read_text())
STUDY = {
    "name": "tiny",
    "simulate": {
        "videos": 40,
        "queries": 2,
        "feature_dim": 8,
        "word_dim": 8,
        "min_clips": 6,
        "max_clips": 8,
    },
    "backbone": {"hidden": 8, "heads": 2, "char_dim": 4},
    "training": {"epochs": 2},
    "distill": {"warmup_epochs": 0},
    "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
    "budget": {"trials": 2},
    "pruning": {"name": "none"},
}


@pytest.mark.parametrize("name", ["quickstart", "search", "finalists", "report"])
def test_every_entry_point_is_a_command_that_is_accepted(name: str) -> None:
    entry = PROJECT["entry_points"][name]
    given = {
        key: value["default"] if isinstance(value, dict) and "default" in value else "study.yaml"
        for key, value in entry["parameters"].items()
    }
    parse(entry["command"].format(**given).removeprefix("sh run.sh ").split())


class Project:
    """A study file, and `mlflow run` on it as a user without an active environment calls it."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{store}"
        content = {
            **STUDY,
            "dataset": str(folder / "dataset"),
            "workspace": str(folder / "runs"),
            "tracking": {"uri": self.store},
        }
        self.study = folder / "a study.yaml"
        self.study.write_text(yaml.safe_dump(content))

    def run(self, entry: str, **parameters: str) -> str:
        given = {"study": str(self.study), **parameters}
        environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "mlflow", "run", str(FOLDER)),
                *("-e", entry, "--env-manager", "local"),
                *(word for key, value in given.items() for word in ("-P", f"{key}={value}")),
            ],
            env={**environment, "PATH": programs, "MLFLOW_TRACKING_URI": self.store},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Project:
    """A study that the entry point `quickstart` has searched."""
    folder = tmp_path_factory.mktemp("project")
    store = folder / "mlflow.db"
    store.write_bytes(empty_store.read_bytes())
    project = Project(folder, store)
    assert "Pareto front" in project.run("quickstart")
    return project


@pytest.mark.system
def test_mlflow_run_searches_and_goes_on_with_what_is_there(project: Project) -> None:
    champion = project.folder / "runs" / "studies" / "tiny" / "champions" / "best-ood"
    made = champion.stat().st_mtime_ns
    assert "Pareto front" in project.run("search")
    assert champion.stat().st_mtime_ns == made


@pytest.mark.system
def test_mlflow_run_trains_finalists(project: Project) -> None:
    assert "best-balanced" in project.run("finalists", top="1", seeds="1")


@pytest.mark.system
def test_mlflow_run_writes_the_report(project: Project) -> None:
    project.run("report")
    page = project.folder / "runs" / "studies" / "tiny" / "report" / "report.html"
    assert "tiny" in page.read_text(encoding="utf-8")


def test_an_environment_that_mlflow_makes_holds_the_locked_versions() -> None:
    made_of = yaml.safe_load((FOLDER / "python_env.yaml").read_text())
    assert re.fullmatch(r"3\.\d+", made_of["python"])
    (line,) = made_of["dependencies"]
    # MLflow gives pip the folder alone: what is named must lie in it.
    named = FOLDER / line.removeprefix("-r ")
    assert named.parent == FOLDER
    assert named.read_text() == (ROOT / "requirements.lock").read_text()
    # run.sh needs it where refkd is not installed.
    assert "setuptools" in read_lock(ROOT / "requirements.lock")


def test_the_compose_file_is_closed_and_installs_the_locked_versions() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    compose = yaml.safe_load(text)
    assert set(compose["services"]) == {"mlflow", "database"}
    server, database = compose["services"]["mlflow"], compose["services"]["database"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert "ports" not in database
    assert server["environment"]["REFKD_AUTH"] == "basic"
    for service, password in (
        (database, "POSTGRES_PASSWORD"),
        (server, "MLFLOW_AUTH_ADMIN_PASSWORD"),
    ):
        assert service["environment"][password].startswith(f"${{{password}:?"), "no default"
    assert ":-" not in text
    recipe = server["build"]["dockerfile_inline"]
    installed = [Requirement(one) for one in re.findall(r"'([^']+)'", recipe)]
    locked = read_lock(ROOT / "requirements.lock")
    assert {one.name: str(one.specifier) for one in installed} == {
        name: f"=={locked[name]}" for name in ("mlflow", "psycopg")
    }
    assert (FOLDER / re.findall(r"COPY (\S+)", recipe)[0]).is_file()
