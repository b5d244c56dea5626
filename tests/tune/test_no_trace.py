"""Library calls leave nothing behind in the process: what a user has set stays as it was."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pytest
import ray
import ray.tune  # its imports are its own
import torch
from support.chaos import Workspace
from support.ended_study import EndedStudy, FakeTrainer, end_study
from support.small_study import make_study

from refkd import (
    Dataset,
    RecipeConfig,
    SimulationConfig,
    TeacherConfig,
    TrainingConfig,
    VSLNetConfig,
    freeze_teacher,
    simulate,
    teacher_trainer,
)
from refkd.scoped import log_levels
from tune import evaluate_final, finalists, load_study_file, read_summary, search
from tune.audit.replay import replay
from tune.simulation.plan import probe_epoch
from tune.study.lease import lease
from tune.study.locate import locate
from tune.study.opening import open_study

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
SCORES = {0: [(40.0, 10.0)], 1: [(32.0, 20.0)], 2: [(10.0, 35.0)]}

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)


def state() -> dict[str, object]:
    """Return what a library call could leave behind in a process."""
    known = logging.root.manager.loggerDict
    loggers = [logging.root, *(one for one in known.values() if isinstance(one, logging.Logger))]
    os.umask(mask := os.umask(0o777))
    return {
        **{f"variable {name}": value for name, value in os.environ.items()},
        **{f"logger {one.name}": (one.level, one.disabled, one.propagate) for one in loggers},
        **{f"signal {one.name}": signal.getsignal(one) for one in SIGNALS},
        "umask": mask,
        "folder": Path.cwd(),
        "path": list(sys.path),
        "warnings": list(warnings.filters),
        "verbosity of Optuna": optuna.logging.get_verbosity(),
        "store of MLflow": (mlflow.is_tracking_uri_set(), mlflow.get_tracking_uri()),
        "random numbers of PyTorch": torch.get_rng_state().tolist(),
        "random numbers of NumPy": str(np.random.get_state()),
        "threads": torch.get_num_threads(),
        "default type": torch.get_default_dtype(),
        "joined": ray.is_initialized(),
    }


@contextmanager
def traceless() -> Iterator[None]:
    """Assert that the body leaves the process as it was; loggers may be added."""
    before = state()
    yield
    after = state()
    names = [name for name in {**before, **after} if name in before or "logger " not in name]
    changed = {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}
    assert changed == {}


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """What a user has, whatever ran in this process before: a trace must be a change."""
    threads, verbosity = torch.get_num_threads(), optuna.logging.get_verbosity()
    torch.set_num_threads(2)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with log_levels({"mlflow": logging.INFO, "ray": logging.INFO, "ray.tune": logging.INFO}):
        yield
    optuna.logging.set_verbosity(verbosity)
    torch.set_num_threads(threads)


@pytest.fixture
def ended(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, tiny_dataset)


def test_a_trace_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="REFKD_TRACE"), traceless():
        monkeypatch.setenv("REFKD_TRACE", "1")
    with pytest.raises(AssertionError, match="random numbers of NumPy"), traceless():
        np.random.normal()


def test_reading_searching_and_choosing(ended: EndedStudy, tiny_dataset: Dataset) -> None:
    fake = FakeTrainer(tiny_dataset, SCORES)
    with traceless():
        load_study_file(ended.path)
        search(ended.path)  # nothing is left to train
        read_summary(ended.path)
        replay(open_study(locate(ended.path)))
        finalists(ended.path, top=1, seeds=1, train=fake)
        evaluate_final(ended.path)


def test_a_record_in_mlflow(tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str) -> None:
    with traceless():
        make_study(tmp_path, tiny_dataset, tracking=mlflow_store)


def test_a_network_and_a_plan(ended: EndedStudy, tiny_dataset: Dataset, tmp_path: Path) -> None:
    def train(folder: Path) -> None:
        network = VSLNetConfig(hidden=8, heads=2, char_dim=4)
        training = TrainingConfig(epochs=1, batch_size=64)
        recipe = RecipeConfig.named("combined")
        config = TeacherConfig(backbone=network, recipe=recipe, training=training, seed=1)
        trainer = teacher_trainer(config, tiny_dataset)
        assert len(list(trainer.epochs())) == 1
        freeze_teacher(trainer, config, tiny_dataset, folder)

    train(tmp_path / "first")  # PyTorch imports a part of itself at its first step
    with traceless():
        train(tmp_path / "second")
        simulate(out=tmp_path / "dataset", config=SimulationConfig(videos=40))
        assert probe_epoch(ended.file) > 0


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler])
def test_a_lease_of_who_ignores_interrupts(tmp_path: Path, handler: signal.Handlers) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with traceless(), lease(f"sqlite:///{tmp_path / 'study.db'}", "a", signs=[1.0]):
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_search_on_ray(workspace: Workspace, ray_address: str) -> None:
    workspace.write(budget={"trials": 1}, training={"epochs": 2})
    with traceless():
        search(workspace.study, address=ray_address)
