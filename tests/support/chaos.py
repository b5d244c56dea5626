"""Real searches in processes of their own, what they leave, and whether all of it agrees."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from support import chaos_hooks

from refkd.data.dataset import Dataset
from refkd.files import sha256_file
from refkd.training.teacher import freeze_teacher, teacher_trainer
from tune.audit.examine import examine
from tune.audit.replay import replay
from tune.config.study_file import load_study_file
from tune.config.teachers import TEACHER_ROLES
from tune.study.locate import locate
from tune.study.opening import open_study
from tune.study.view import STAMP, TrialView, view

REFKD = Path(sys.executable).parent / "refkd"
SETTINGS: dict[str, Any] = {
    "name": "quick",
    "backbone": {"hidden": 8, "heads": 2},
    "training": {"epochs": 4, "batch_size": 64},
    "teachers": {
        "id": {"recipe": "id", "training": {"epochs": 2}},
        "ood": {"recipe": "refkd_text", "training": {"epochs": 2}},
    },
    "distill": {"warmup_epochs": 1},
    "space": {
        "distill.lambda_id": {"float": [0.01, 1.0], "log": True},
        "distill.lambda_ood": {"float": [0.01, 1.0], "log": True},
    },
    "budget": {"trials": 12},
    "sampler": {"startup_trials": 4},
    "workers": 1,
}
SIMULATE = {
    **{"videos": 60, "queries": 2, "feature_dim": 16, "word_dim": 12},
    **{"min_clips": 8, "max_clips": 16},
}
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


@dataclass(frozen=True)
class Workspace:
    """A folder with a study file, and all that its search leaves."""

    folder: Path
    dataset: Path
    hooks: list[chaos_hooks.Hook] = field(default_factory=list)

    @property
    def study(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def output(self) -> Path:
        """All that the drivers have printed."""
        return self.folder / "output.txt"

    def write(self, **changes: Any) -> None:
        """Write the study file."""
        places = {"dataset": str(self.dataset), "workspace": str(self.runs)}
        content = {**SETTINGS, **places, **changes}
        self.study.write_text(yaml.safe_dump(content), encoding="utf-8")

    @contextmanager
    def driver(self) -> Iterator[subprocess.Popen[bytes]]:
        """A search in a session of its own, as a terminal starts it; nothing of it is left."""
        process = self.start()
        try:
            yield process
        finally:
            kill_all(process)

    def start(self) -> subprocess.Popen[bytes]:
        """Begin or continue the search."""
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [REFKD, "search", self.study],
                cwd=self.folder,
                env=environment_with(self.hooks, self.folder / "hooks"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def search(self) -> int:
        """Search to the end of this launch; return the exit code."""
        with self.driver() as process:
            return process.wait()

    def refkd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the study."""
        return subprocess.run(
            [REFKD, *arguments, self.study], cwd=self.folder, capture_output=True, text=True
        )

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def optuna(self) -> optuna.Study:
        return open_study(locate(self.study))

    def views(self) -> list[TrialView]:
        return [view(trial) for trial in self.optuna().get_trials(deepcopy=False)]

    def champions(self) -> dict[str, str]:
        """Return the hash of each champion's weights."""
        folder = self.runs / "studies" / locate(self.study).name / "champions"
        return {w.parent.name: sha256_file(w) for w in folder.glob("*/weights.safetensors")}

    def mlflow(self) -> tuple[MlflowClient, list[Run]]:
        """Return the runs of the study's experiment."""
        place = locate(self.study)
        client = MlflowClient(place.tracking.reveal())
        experiment = client.get_experiment_by_name(f"refkd/{place.name}")
        assert experiment is not None
        return client, list(client.search_runs([experiment.experiment_id], max_results=1000))


def as_a_user() -> dict[str, str]:
    """Return an environment without the token of the tests' cluster: Ray makes its own."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH_")}


def environment_with(hooks: list[chaos_hooks.Hook], folder: Path) -> dict[str, str]:
    """Return an environment whose Python processes apply the hooks, kept in `folder`."""
    environment = {**as_a_user(), "OMP_NUM_THREADS": "1"}
    if hooks:
        folder.mkdir(exist_ok=True)
        install = f"install({', '.join(map(repr, hooks))})"
        text = f"from chaos_hooks import Epochs, Kill, Mark, Slow, install\n\n{install}\n"
        (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
        shutil.copy(chaos_hooks.__file__, folder)  # beside it, `tests/refkd` would hide refkd
        places = (str(folder), environment.get("PYTHONPATH"))
        environment["PYTHONPATH"] = os.pathsep.join(place for place in places if place)
    return environment


def kill_all(driver: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a driver and all it started, until nothing of it lives."""
    while alive := session(driver.pid):
        for process in alive:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    driver.wait()


def session(leader: int) -> list[int]:
    """Return the processes that live of a driver's session; Ray's workers leave its group."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def wait_for_end(driver: subprocess.Popen[bytes]) -> None:
    """Wait until nothing that a driver started lives; what stays for good meets the timeout.

    Ray's processes notice the end of the one above them a moment after it.
    """
    while session(driver.pid):
        time.sleep(0.1)


def teach(workspace: Workspace) -> None:
    """Train both teachers in this process, where a search looks for them."""
    workspace.write()
    file, dataset = load_study_file(workspace.study), Dataset.open(workspace.dataset)
    for role in TEACHER_ROLES:
        config = file.teacher_config(role)
        trainer = teacher_trainer(config, dataset)
        for _ in trainer.epochs():
            pass
        folder = workspace.runs / "teachers" / config.address(dataset)
        freeze_teacher(trainer, config, dataset, folder)


def copy_made(source: Workspace, folder: Path, store: Path) -> Workspace:
    """Return a workspace with the teachers of another, and an empty MLflow store."""
    made = Workspace(folder, source.dataset)
    made.runs.mkdir(parents=True)
    for part in (p for p in ("teachers", "knowledge") if (source.runs / p).exists()):
        shutil.copytree(source.runs / part, made.runs / part)
    shutil.copy(store, made.runs / "mlflow.db")
    made.write()
    return made


def copy_whole(source: Workspace, folder: Path) -> Workspace:
    """Return a copy of all that a search has left, with a study file that names its own paths."""
    shutil.copytree(source.runs, folder / "runs")
    made = Workspace(folder, source.dataset)
    made.write(simulate=SIMULATE)
    return made


def wait_for(happened: Any, process: subprocess.Popen[bytes]) -> None:
    """Wait until something has happened; the driver must not end before."""
    while not happened():
        assert process.poll() is None, "the search ended too early"
        time.sleep(0.05)


def outcome(views: list[TrialView]) -> list[tuple[Any, ...]]:
    """Return what must not depend on when a search was disturbed: all but times and costs."""
    return [
        (v.number, v.state, v.values, _steady(v.curve), _steady(v.decisions), v.objectives)
        for v in views
    ]


def _steady(facts: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {
        epoch: {k: v for k, v in found.items() if k != STAMP and not k.startswith("cost/")}
        for epoch, found in facts.items()
    }


def assert_sound(workspace: Workspace, *, trials: int) -> None:
    """Hold a finished study to all that is promised whatever happened to it."""
    views = workspace.views()
    assert len(views) == trials
    for v in views:
        assert v.state in STATUS
        assert v.attributes["ended"]["state"] == v.state
        assert list(v.curve) == list(range(v.attributes.get("inherited", 0) + 1, v.epoch + 1))
    assert_recorded(workspace, views)
    assert replay(workspace.optuna()).differences == []
    found = examine(workspace.study).findings
    assert not found, found


def assert_recorded(workspace: Workspace, views: list[TrialView]) -> None:
    """Hold MLflow to one run a trial with its status, its scores, and each epoch once."""
    client, found = workspace.mlflow()
    roles = Counter(run.data.tags["refkd.role"] for run in found)
    assert roles == {"study": 1, "teacher-id": 1, "teacher-ood": 1, "student": len(views)}
    runs = {int(r.data.tags["refkd.trial"]): r for r in found if "refkd.trial" in r.data.tags}
    assert sorted(runs) == [v.number for v in views]
    for v in views:
        run = runs[v.number]
        assert (run.info.status, run.data.tags["refkd.state"]) == (STATUS[v.state], v.state)
        for name in v.last:
            history = client.get_metric_history(run.info.run_id, name)
            told = sorted((metric.step, metric.value) for metric in history)
            assert told == [
                (e, metrics[name]) for e, metrics in v.curve.items() if name in metrics
            ]
