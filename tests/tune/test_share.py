"""How many trials fit on a GPU or a machine: the arithmetic, and a real measurement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.chaos import SETTINGS
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.models import VSLNetConfig
from refkd.training.student import StudentConfig
from tune.cli import app
from tune.config.limits import Resources
from tune.config.study_file import StudyFile
from tune.execution.capacity import measure, share_of
from tune.execution.cluster import ray_session
from tune.execution.footprint import Taken, largest_student, taken_by

GIB = 1 << 30


def taken(*, device: str = "A100", memory: float, busy: float) -> Taken:
    return Taken(
        device=device, parameters=1, pairs=16, clips=64, step_seconds=0.1,
        memory=int(memory * GIB), capacity=16 * GIB, busy=busy,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("memory", "busy", "trials", "share"),
    [
        (2.0, 0.3, 3, 0.3333),  # the GPU's time is the bound
        (4.0, 0.1, 3, 0.3333),  # its memory is
        (15.0, 0.1, 0, 1.0),  # not even one leaves the margin
        (1.0, 0.9, 1, 1.0),
    ],
)
def test_trials_share_a_gpu_by_memory_and_time(
    memory: float, busy: float, trials: int, share: float
) -> None:
    machines = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}]
    found = share_of(taken(memory=memory, busy=busy), Resources(cpu=2), machines)
    assert (found.trials, found.workers) == (trials, 3 * trials)
    assert found.resources == Resources(cpu=2, gpu=share)
    assert found.resources.gpu * max(trials, 1) <= 1


def test_without_a_gpu_cores_and_main_memory_decide() -> None:
    machines = [{"CPU": 4.0}, {"CPU": 8.0}]
    one = taken(device="cpu", memory=4.0, busy=1.0)
    found = share_of(one, Resources(cpu=2), machines)
    assert (found.trials, found.by_memory, found.by_time, found.workers) == (3, 3, 4, 5)


def test_the_largest_of_the_space_is_measured(tiny_dataset: Dataset) -> None:
    space = {"backbone.hidden": {"choice": [4, 64]}}
    settings = {**SETTINGS, "dataset": str(tiny_dataset.path), "space": space}
    file = StudyFile.model_validate(settings)
    student = largest_student(file, tiny_dataset)
    assert student.backbone.hidden == 64
    small = StudentConfig(backbone=VSLNetConfig(hidden=4, heads=2, char_dim=4))
    a, b = (taken_by(config, tiny_dataset, "cpu") for config in (student, small))
    assert a.parameters > b.parameters
    assert a.step_seconds > 0
    assert 0 < a.memory < a.capacity
    assert a.clips == tiny_dataset.role("fit").clips.max()


def test_a_gpu_that_is_not_there_is_named(tiny_dataset: Dataset) -> None:
    settings = {**SETTINGS, "dataset": str(tiny_dataset.path), "resources": {"gpu": 0.5}}
    with pytest.raises(RefKDError, match="no machine has a GPU"):
        measure(StudyFile.model_validate(settings), [{"CPU": 2.0}])


@pytest.mark.parametrize("gpu", [0, 0.5])
def test_machines_of_which_nothing_is_known_have_to_be_there(
    tiny_dataset: Dataset, gpu: float
) -> None:
    settings = {**SETTINGS, "dataset": str(tiny_dataset.path), "resources": {"gpu": gpu}}
    with pytest.raises(RefKDError, match="no machine for trials is there yet"):
        measure(StudyFile.model_validate(settings), [{"CPU": 0.0}, {}])


def test_the_command_says_what_to_write(
    tiny_dataset: Dataset, tmp_path: Path, ray_address: str
) -> None:
    study = tmp_path / "study.yaml"
    settings = {**SETTINGS, "dataset": str(tiny_dataset.path), "workspace": str(tmp_path / "runs")}
    study.write_text(json.dumps(settings), encoding="utf-8")
    told = CliRunner().invoke(app, ["share", str(study), "--address", ray_address])
    assert told.exit_code == 0, told.output
    assert "resources: {cpu: 1, gpu: 0}\nworkers: " in told.output
    assert not (tmp_path / "runs").exists()


def test_a_dataset_that_a_worker_cannot_read_is_one_line(tmp_path: Path, ray_address: str) -> None:
    settings = {**SETTINGS, "dataset": str(tmp_path / "gone")}
    session = ray_session(Resources(), address=ray_address)
    with session, pytest.raises(RefKDError, match="gone"):
        measure(StudyFile.model_validate(settings), [{"CPU": 2.0}])


@pytest.mark.gpu
def test_a_gpu_tells_its_memory_and_its_time(tiny_dataset: Dataset) -> None:
    small = StudentConfig(backbone=VSLNetConfig(hidden=4, heads=2, char_dim=4))
    found = taken_by(small, tiny_dataset, "cuda")
    assert found.device == torch.cuda.get_device_name()
    assert 0 < found.memory < found.capacity
    assert 0 < found.busy <= 1
