"""A search that has ended, made by hand: its students are random networks that can be scored."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from support.shared import made_once

from refkd.data.dataset import Dataset
from refkd.files import write_json
from refkd.models import build_backbone
from refkd.seeds import derive_seed
from refkd.training.checkpoint import save_tensors
from refkd.training.export import RECORD, WEIGHTS, StudentRecord, record_hash
from refkd.training.student import StudentConfig
from refkd.training.teacher import TeacherRecord, find_teacher
from refkd.training.validated import VALIDATION_ROLES, PairHistory, identity_of_pairs
from tune.config.metrics import BALANCED
from tune.config.study_file import StudyFile, load_study_file
from tune.execution.jobs import CHECKPOINTS, JobEnd, JobListener, TrainingJob, Workplace
from tune.study.environment import environment
from tune.study.folders import seed_folder, trial_folder
from tune.study.search_study import SearchStudy
from tune.study.storage import close_storage

EPOCHS = 2
SCORES = {0: (30.0, 10.0), 1: (20.0, 20.0), 2: (10.0, 30.0), 3: (5.0, 5.0)}
"""mIoU in and out of distribution by trial: three are the best of a kind, one of none."""


@dataclass(frozen=True, kw_only=True)
class EndedStudy:
    """The study file and what it says."""

    path: Path
    file: StudyFile
    url: str

    def open(self) -> SearchStudy:
        return self.open_with(self.file)

    def open_with(self, file: StudyFile) -> SearchStudy:
        """Open the study with another version of its file."""
        return SearchStudy(file.search_spec(), self.url)

    def attributes(self) -> dict[str, Any]:
        return dict(self.open().optuna.user_attrs)

    def change(self, **changes: Any) -> None:
        """Change the study file."""
        content = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        self.path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")


def scored(id_miou: float, ood_miou: float, *, cpu: float = 1.0) -> dict[str, float]:
    """Return metrics as training reports them, those that are looked at."""
    harmonic = 2 * id_miou * ood_miou / (id_miou + ood_miou)
    return {
        "val_id/miou": id_miou,
        "val_ood/miou": ood_miou,
        "val_id/r1_iou0.5": id_miou / 2,
        "val_ood/r1_iou0.5": ood_miou / 2,
        BALANCED: harmonic,
        "cost/cpu_seconds": cpu,
        "cost/wall_seconds": cpu,
    }


def end_study(folder: Path, dataset: Dataset, **changes: Any) -> EndedStudy:
    """Make the study; MLflow is left out unless `tracking` names a store."""
    content: dict[str, Any] = {
        "name": "ended",
        "dataset": str(dataset.path),
        "workspace": str(folder / "runs"),
        "backbone": {"hidden": 8, "heads": 2, "char_dim": 4},
        "training": {"epochs": EPOCHS},
        "distill": {"warmup_epochs": 1},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
        "budget": {"trials": len(SCORES)},
        "pruning": {"name": "none"},
        "tracking": {"enabled": False},
        **changes,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    file = load_study_file(path)
    ended = EndedStudy(
        path=path, file=file, url=file.storage or f"sqlite:///{file.folder / 'study.db'}"
    )
    if file.storage is not None:
        _search(ended, dataset)
        return ended
    asked = {key: value for key, value in content.items() if key not in ("workspace", "tracking")}

    def make(template: Path) -> None:
        path = template / "study.yaml"
        path.write_text(yaml.safe_dump({**asked, "workspace": str(template / "runs")}), "utf-8")
        file = load_study_file(path)
        url = f"sqlite:///{file.folder / 'study.db'}"
        _search(EndedStudy(path=path, file=file, url=url), dataset)

    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    shutil.copytree(made_once(f"ended-{name}", make) / "runs", file.workspace)
    return ended


def _search(ended: EndedStudy, dataset: Dataset) -> None:
    file, study = ended.file, ended.open()
    teachers = {role: _teacher(file, dataset, role) for role in ("id", "ood")}
    study.bind("dataset", dataset.fingerprint)
    study.bind("teachers", {role: folder.name for role, folder in teachers.items()})
    study.bind("seed", file.seed)
    study.begin_launch(environment())
    for number in range(file.budget.trials):
        add_trial(file, dataset, study, SCORES[number])
    close_storage(study.optuna._storage)  # whoever copies the database finds all in one file


def freeze(
    config: StudentConfig,
    dataset: Dataset,
    study_folder: Path,
    folder: Path,
    *,
    metrics: Mapping[str, float],
) -> None:
    """Write a random network, another one for each folder of a study, as a student."""
    weights = derive_seed(str(folder.relative_to(study_folder))) % (1 << 31)
    network = build_backbone(config.backbone, dataset.model_inputs(), seed=weights)
    record = StudentRecord(
        config=config,
        dataset=dataset.fingerprint,
        epoch=EPOCHS,
        metrics=dict(metrics),
        sha256=save_tensors(folder / WEIGHTS, network.state_dict()),
        validation=_validated(dataset, metrics).write(folder),
    )
    write_json(folder / RECORD, record.model_dump(mode="json"))


def _validated(dataset: Dataset, metrics: Mapping[str, float]) -> PairHistory:
    """Return what would give these scores: all pairs a little above or below them, by turns."""
    tiou = {}
    for role in VALIDATION_ROLES:
        turns = np.resize([0.01, -0.01], len(dataset.role(role)))
        tiou[role] = np.tile(metrics[f"{role}/miou"] / 100 + turns, (EPOCHS, 1)).astype(np.float16)
    return PairHistory(pairs=identity_of_pairs(dataset), tiou=tiou)


@dataclass
class FakeTrainer:
    """Trains finalists without Ray: students are random, scores are given."""

    dataset: Dataset
    scores: Mapping[int, Sequence[tuple[float, float]]]
    """By trial and seed."""
    failing: set[str] = field(default_factory=set)
    """Runs whose training gives up."""
    dying: set[str] = field(default_factory=set)
    """Runs whose worker dies for good."""
    stop_after: int | None = None
    """Runs after which Ctrl-C is pressed twice."""
    trained: list[str] = field(default_factory=list)
    """Runs that were trained, over all calls."""

    def __call__(
        self,
        jobs: Sequence[TrainingJob],
        place: Workplace,
        listener: JobListener,
    ) -> None:
        for done, job in enumerate(jobs):
            if done == self.stop_after:
                raise KeyboardInterrupt
            self.trained.append(job.key)
            listener.job_started(job)
            if job.key in self.failing:
                end = JobEnd(failed="the loss is not finite")
            elif job.key in self.dying:
                end = JobEnd(failed="the worker process died", died=True)
            else:
                end = self._train(job, listener)
            listener.job_ended(job, end)

    def _train(self, job: TrainingJob, listener: JobListener) -> JobEnd:
        _, number, seed = job.key.split("/")
        metrics = scored(*self.scores[int(number)][int(seed.removeprefix("seed-"))])
        for epoch in range(1, EPOCHS + 1):
            listener.epoch_ended(job, epoch, metrics)
        (job.folder / CHECKPOINTS).mkdir(parents=True)
        (config,) = job.networks
        assert isinstance(config, StudentConfig)
        freeze(config, self.dataset, job.folder.parents[2], job.folder, metrics=metrics)
        return JobEnd(metrics=metrics)


def add_trial(
    file: StudyFile, dataset: Dataset, study: SearchStudy, scores: tuple[float, float]
) -> None:
    """Run a trial that comes to given scores."""
    ask = study.ask()
    assert ask is not None
    metrics = scored(*scores)
    for epoch in range(1, EPOCHS + 1):
        study.record(ask.number, epoch, metrics)
    kept = []
    for replicate, seed in enumerate(file.seeds(ask.repeats)):
        folder = seed_folder(trial_folder(file.folder, ask.number), replicate)
        config = file.student_config(ask.values, seed=seed)
        freeze(config, dataset, file.folder, folder, metrics=metrics)
        kept.append(record_hash(folder))
    study.complete(ask.number, metrics, kept)


def _teacher(file: StudyFile, dataset: Dataset, role: str) -> Path:
    config = file.teacher_config(role)
    folder = file.workspace.absolute() / "teachers" / config.address(dataset)
    seed = {"id": 1, "ood": 2}[role]
    network = build_backbone(config.backbone, dataset.model_inputs(), seed=seed)
    record = TeacherRecord(
        backbone=config.backbone,
        recipe=config.recipe,
        training=config.training,
        seed=config.seed,
        dataset=dataset.fingerprint,
        epoch=1,
        metrics=scored(25.0, 25.0),
        history=[{"epoch": 1, "metrics": scored(25.0, 25.0)}],
        sha256=save_tensors(folder / "weights.safetensors", network.state_dict()),
    )
    write_json(folder / "teacher.json", record.model_dump(mode="json"))
    assert find_teacher(folder) is not None
    return folder
