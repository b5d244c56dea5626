"""Champions: the best ID and the best OOD student, scored with intervals and registered."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refkd.data.dataset import Dataset
from refkd.data.roles import OpenRole
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.intervals import cluster_bootstrap
from refkd.evaluation.metrics import score
from refkd.evaluation.probes import probe
from refkd.files import write_json
from refkd.models.backbone import Backbone
from refkd.retriever import export
from refkd.training.export import FrozenStudent, open_student
from refkd.training.teacher import Teacher
from refkd.training.validation import VALIDATION_ROLES, edges_to_seconds, predict_edges
from tune.execution.progress import Reporter
from tune.spec.marks import study_marks
from tune.spec.study_file import StudyFile
from tune.study.folders import trial_folder
from tune.study.results import Summary
from tune.study.search_study import SearchStudy

Table = dict[str, dict[str, Any]]


def crown(
    file: StudyFile,
    study: SearchStudy,
    summary: Summary,
    dataset: Dataset,
    teachers: Mapping[str, Teacher],
    reporter: Reporter,
    *,
    register: bool = True,
) -> None:
    """Score champions and teachers with intervals, keep the champions, register them in MLflow.

    Does nothing where the champions are those that were crowned before. A search gives an alias of
    the registry only while nobody bears it: to move one, `refkd finalists` chooses on fresh seeds
    or a person does with `refkd promote`. Without `register` that is left to the next launch.
    """
    crowned = {"champions": summary.champions, "trials": summary.ended}
    kept = all((file.folder / "champions" / alias).is_dir() for alias in summary.champions)
    known = study.optuna.user_attrs
    if kept and known.get("crowned") == crowned and "probes" in known:
        return
    reporter.stage("scoring the champions and registering them")
    systems = systems_of(file, summary, dataset, teachers)
    table = score_systems(systems, dataset, seed=file.seed)
    folders = _keep(file, summary, dataset)
    study.note("intervals", table)
    roles = (dataset.role("val_id"), dataset.role("val_ood"))
    probes = {name: probe(network, *roles, seed=file.seed) for name, network in systems.items()}
    study.note("probes", {name: found.model_dump() for name, found in probes.items()})
    write_json(file.folder / "champions" / "scores.json", table)
    if file.tracking.enabled and summary.crowned is None:
        from tune.record.registry import register_champions

        if not register:
            return
        if not register_champions(file, summary, dataset, folders, table, move=False):
            return
    study.note("crowned", crowned)


def systems_of(
    file: StudyFile, summary: Summary, dataset: Dataset, teachers: Mapping[str, Teacher]
) -> dict[str, Backbone]:
    """Return the networks of teachers and champions by name."""
    systems: dict[str, Backbone] = {
        f"teacher-{role}": teacher.backbone(dataset) for role, teacher in teachers.items()
    }
    for alias, number in summary.champions.items():
        systems[alias] = open_student(trial_folder(file.folder, number)).backbone(dataset)
    return systems


def score_systems(systems: Mapping[str, Backbone], dataset: Dataset, *, seed: int) -> Table:
    """Return, for each validation role, every system's mIoU and R1@0.5 with 95 % intervals.

    Intervals are bootstrapped over videos (evaluation conventions: the project's default); the
    bias floors are fitted on the fit role and never look at a video.
    """
    table: Table = {}
    for role in VALIDATION_ROLES:
        pairs = dataset.role(role)
        table[role] = {
            name: _interval_row(backbone, dataset, role, seed=seed)
            for name, backbone in systems.items()
        }
        table[role]["floors"] = {
            name: {"miou": scores.miou, "r1_iou0.5": scores.r1[0.5]}
            for name, scores in bias_floors(dataset.role("fit"), pairs).items()
        }
    return table


def _interval_row(
    backbone: Backbone, dataset: Dataset, role: OpenRole, *, seed: int
) -> dict[str, Any]:
    pairs = dataset.role(role)
    scores = score(edges_to_seconds(predict_edges(backbone, pairs), pairs), pairs)
    values = np.stack([scores.tiou, scores.tiou >= 0.5], axis=1) * 100.0
    interval = cluster_bootstrap(values, np.asarray(pairs.video_ids), seed=seed)
    row: dict[str, Any] = {}
    for column, name in enumerate(("miou", "r1_iou0.5")):
        row[name] = {
            "value": float(interval.mean[column]),
            "low": float(interval.low[column]),
            "high": float(interval.high[column]),
        }
    return row


def keep_retriever(
    file: StudyFile, student: FrozenStudent, dataset: Dataset, folder: Path
) -> Path:
    """Export a student into a folder, in the place of what is there; it needs no study then."""
    if folder.exists():
        shutil.rmtree(folder)
    network = student.record.config.backbone
    export(student.backbone(dataset), network, dataset, folder, marks=study_marks(file))
    return folder


def _keep(file: StudyFile, summary: Summary, dataset: Dataset) -> dict[str, Path]:
    """Export each champion."""
    folders = {}
    for alias, number in summary.champions.items():
        student = open_student(trial_folder(file.folder, number))
        folder = file.folder / "champions" / alias
        folders[alias] = keep_retriever(file, student, dataset, folder)
    return folders
