"""A study of three trials as a search leaves it, made by hand: storage, files, MLflow record."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from support.shared import made_once

from refkd.data.dataset import Dataset
from refkd.files import sha256_file, write_json
from refkd.training.checkpoint import Checkpoint, CheckpointFolder, save_tensors
from refkd.training.export import RECORD, WEIGHTS, StudentRecord
from refkd.training.teacher import Teacher, TeacherRecord, find_teacher
from tune.config.study_file import StudyFile, load_study_file
from tune.study.environment import environment
from tune.study.events import TeacherTrained
from tune.study.folders import trial_folder
from tune.study.search_study import SearchStudy
from tune.study.storage import close_storage
from tune.study.view import TrialView
from tune.tracking.record import Record

EPOCHS = 3
OUTCOMES = {0: ("COMPLETE", 3), 1: ("PRUNED", 2), 2: ("FAIL", 1)}
"""State and epochs by trial."""


@dataclass(frozen=True, kw_only=True)
class SmallStudy:
    """The study file and what it says."""

    path: Path
    file: StudyFile
    url: str

    def open(self) -> SearchStudy:
        return SearchStudy(self.file.search_spec(), self.url)

    def views(self) -> list[TrialView]:
        return self.open().views()

    def student(self, number: int = 0) -> Path:
        return trial_folder(self.file.folder, number)


def metrics(number: int, epoch: int) -> dict[str, float]:
    return {"val_id/miou": 10.0 * number + epoch, "val_ood/miou": 5.0 * number + epoch / 3}


def make_study(
    folder: Path, dataset: Dataset, *, storage: str | None = None, tracking: str | None = None
) -> SmallStudy:
    """Make the study; `tracking` None switches the record off.

    Without a record, and in SQLite, it is a copy of one that was made before. An MLflow store is
    made anew: its own path stands in it, and in the marks of what was sent there.
    """
    if storage is not None or tracking is not None:
        return _make(folder, dataset, storage=storage, tracking=tracking)

    def make(template: Path) -> None:
        _make(template, dataset, storage=None, tracking=None)

    template = made_once(f"small-{dataset.fingerprint[:12]}", make)
    shutil.copytree(template / "runs", folder / "runs")
    return _written(folder, dataset, storage=None, tracking=None)


def _written(
    folder: Path, dataset: Dataset, *, storage: str | None, tracking: str | None
) -> SmallStudy:
    """Write the study file."""
    content: dict[str, Any] = {
        "name": "quick",
        "dataset": str(dataset.path),
        "workspace": str(folder / "runs"),
        "training": {"epochs": EPOCHS},
        "distill": {"warmup_epochs": 1},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
        "budget": {"trials": len(OUTCOMES)},
        "pruning": {"name": "none"},
        "storage": storage,
        "tracking": {"uri": tracking, "enabled": tracking is not None},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    file = load_study_file(path)
    url = storage or f"sqlite:///{file.folder / 'study.db'}"
    return SmallStudy(path=path, file=file, url=url)


def _make(
    folder: Path, dataset: Dataset, *, storage: str | None, tracking: str | None
) -> SmallStudy:
    made = _written(folder, dataset, storage=storage, tracking=tracking)
    file = made.file
    teachers = {role: _teacher(file, dataset, role) for role in ("id", "ood")}
    study = made.open()
    study.bind("dataset", dataset.fingerprint)
    study.bind("teachers", {role: t.folder.name for role, t in teachers.items()})
    study.begin_launch(environment())
    for role, teacher in teachers.items():
        study.append(TeacherTrained(role=role, digest=teacher.digest))
    with Record(file) as record:
        record.study_started(study, dataset)
        for number in OUTCOMES:
            _trial(file, dataset, study, record, number)
    close_storage(study.optuna._storage)  # whoever copies the database finds all in one file
    return made


def save_checkpoints(folder: Path, epochs: int) -> None:
    for epoch in range(1, epochs + 1):
        state = Checkpoint(epoch=epoch, tensors={"w": torch.full((3,), float(epoch))}, facts={})
        CheckpointFolder(folder).save(state)


def _trial(
    file: StudyFile, dataset: Dataset, study: SearchStudy, record: Record, number: int
) -> None:
    state, epochs = OUTCOMES[number]
    ask = study.ask()
    assert ask is not None
    record.wake()
    for epoch in range(1, epochs + 1):
        study.record(number, epoch, metrics(number, epoch))
        record.wake()
    if state == "COMPLETE":
        _student(file, dataset, number, ask.values)
        study.complete(number, metrics(number, epochs))
        save_checkpoints(trial_folder(file.folder, number) / "checkpoints", epochs)
    elif state == "PRUNED":
        study.prune(number)
    else:
        study.fail(number, "the loss is not finite")
    record.wake()


def _student(file: StudyFile, dataset: Dataset, number: int, values: Any) -> None:
    folder = trial_folder(file.folder, number)
    student = StudentRecord(
        config=file.student_config(values, seed=0),
        dataset=dataset.fingerprint,
        epoch=EPOCHS,
        metrics=metrics(number, EPOCHS),
        sha256=save_tensors(folder / WEIGHTS, {"w": torch.ones(3)}),
    )
    write_json(folder / RECORD, student.model_dump(mode="json"))


def _teacher(file: StudyFile, dataset: Dataset, role: str) -> Teacher:
    config = file.teacher_config(role)
    workspace = file.workspace.absolute()
    folder = workspace / "teachers" / config.address(dataset)
    record = TeacherRecord(
        backbone=config.backbone,
        recipe=config.recipe,
        training=config.training,
        seed=config.seed,
        dataset=dataset.fingerprint,
        epoch=1,
        metrics=metrics(0, 1),
        history=[{"epoch": 1, "metrics": metrics(0, 1)}],
        sha256=save_tensors(folder / "weights.safetensors", {"w": torch.ones(len(role))}),
    )
    write_json(folder / "teacher.json", record.model_dump(mode="json"))
    teacher = find_teacher(folder)
    assert teacher is not None
    _knowledge(workspace / "knowledge", teacher)
    return teacher


def _knowledge(folder: Path, teacher: Teacher) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(teacher.digest.encode()).hexdigest()[:24]}.npy"
    np.save(path, np.zeros((4, 2, 5), dtype=np.float32), allow_pickle=False)
    write_json(path.with_suffix(".json"), {"sha256": sha256_file(path), "teacher": teacher.digest})
