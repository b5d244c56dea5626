"""Champions: the best ID and the best OOD student, scored with intervals and registered."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refkd.data.dataset import Dataset
from refkd.evaluation.comparison import Row, mean_row, means
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.predictions import Frozen, measure
from refkd.evaluation.probes import probe
from refkd.files import write_json
from refkd.retriever import export
from refkd.training.export import FrozenStudent, open_student
from refkd.training.teacher import Teacher
from refkd.training.validation import VALIDATION_ROLES
from tune.config.marks import study_marks
from tune.config.study_file import StudyFile
from tune.execution.progress import Reporter
from tune.study.events import ChampionsChosen, champions_of
from tune.study.folders import student_folders, trial_folder
from tune.study.search_study import SearchStudy
from tune.study.summary import Summary

Table = dict[str, dict[str, Any]]


def select_champions(
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
    the registry only where it is not set: to move one, `refkd finalists` chooses on fresh seeds
    or a person does with `refkd promote`. Without `register` that is left to the next launch.
    """
    chosen = ChampionsChosen(by="search", champions=summary.champions, trials=summary.ended)
    kept = all((file.folder / "champions" / alias).is_dir() for alias in summary.champions)
    known = study.optuna.user_attrs
    if kept and champions_of(known, "search") == chosen and "probes" in known:
        return
    reporter.stage("scoring the champions and registering them")
    systems = systems_of(file, summary, teachers)
    scores = score_systems(systems, dataset, seed=file.seed)
    table = interval_table(scores, dataset)
    folders = _keep(file, summary, dataset)
    study.note("intervals", table)
    roles = (dataset.role("val_id"), dataset.role("val_ood"))
    probes = {
        name: probe(students[0].backbone(dataset), *roles, seed=file.seed)
        for name, students in systems.items()
    }
    study.note("probes", {name: found.model_dump() for name, found in probes.items()})
    write_json(file.folder / "champions" / "scores.json", table)
    if file.tracking.enabled and summary.crowned is None:
        from tune.tracking.registry import register_champions

        if not register:
            return
        code = {alias: study.made_with(number) for alias, number in summary.champions.items()}
        borne = register_champions(
            file,
            summary,
            dataset,
            folders,
            scores,
            identity=study.identity(),
            code=code,
            move=False,
        )
        if borne is None:
            return
        study.note_aliases(borne)
    study.append(chosen)


def systems_of(
    file: StudyFile, summary: Summary, teachers: Mapping[str, Teacher]
) -> dict[str, Sequence[Frozen]]:
    """Return the networks of teachers and champions by name, a champion's one a seed."""
    systems: dict[str, Sequence[Frozen]] = {
        f"teacher-{role}": [teacher] for role, teacher in teachers.items()
    }
    for alias, number in summary.champions.items():
        folders = student_folders(file.folder, number, file.replicates.seeds)
        systems[alias] = [open_student(folder) for folder in folders]
    return systems


def score_systems(
    systems: Mapping[str, Sequence[Frozen]], dataset: Dataset, *, seed: int
) -> dict[str, dict[str, Row]]:
    """Return every system's scores by validation role and system."""
    roles = [dataset.role(role) for role in VALIDATION_ROLES]
    measured = {name: measure(frozen, dataset, roles) for name, frozen in systems.items()}
    return {
        pairs.role: {
            name: mean_row(by_role[pairs.role], seed=seed) for name, by_role in measured.items()
        }
        for pairs in roles
    }


def interval_table(scores: Mapping[str, Mapping[str, Row]], dataset: Dataset) -> Table:
    """Return scores as JSON, for each role with the bias floors, which look at no video."""
    table: Table = {}
    for role in VALIDATION_ROLES:
        table[role] = {
            name: {metric: figure.model_dump() for metric, figure in row.items()}
            for name, row in scores[role].items()
        }
        table[role]["floors"] = {
            name: means(found)
            for name, found in bias_floors(dataset.role("fit"), dataset.role(role)).items()
        }
    return table


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
