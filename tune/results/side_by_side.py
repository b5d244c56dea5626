"""Studies side by side: what each found and cost, and paired differences of their champions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError, DataError, RefKDError
from refkd.evaluation.comparison import Row, difference_row
from refkd.evaluation.predictions import measure
from refkd.training.export import FrozenStudent, open_student
from tune.study.budget import hypervolume
from tune.study.folders import finalist_folder
from tune.study.snapshot import StudySnapshot, open_snapshot
from tune.study.view import current


class StudyRow(Config):
    """One study."""

    study: str
    path: str
    dataset: str | None
    """Fingerprint."""
    objectives: list[str]
    states: dict[str, int]
    best: dict[str, tuple[int, float]]
    """Trial and value by objective, among complete trials."""
    front: int
    """Trials on the front."""
    hypervolume: float | None
    """Above the common reference; None where the objectives are not those of the first study."""
    epochs: int
    cpu_seconds: float
    """Of students and teachers."""
    champions: dict[str, int]
    from_finalists: bool
    """Whether the champions were chosen on fresh seeds."""


class ChampionDifference(Config):
    """Champions of the same alias: `other` - the first study's, on the same validation pairs."""

    alias: str
    other: str
    seeds: tuple[int, int]
    """Students of the first study's champion and of the other's, whose means are compared."""
    roles: dict[str, Row]
    """By role and metric."""


class SideBySide(Config):
    """Some studies, the first one as the base of all differences."""

    reference: list[float]
    studies: list[StudyRow]
    differences: list[ChampionDifference]
    notes: list[str]
    """Why a pair of studies has no differences or no common hypervolume."""


def side_by_side(
    paths: Sequence[Path | str], reference: Sequence[float] | None = None
) -> SideBySide:
    """Compare studies with the first one; hypervolumes are above `reference`, 0 without it.

    Champions are compared on the pairs of `val_id` and `val_ood` where both studies were searched
    on the same dataset and their students are here.
    Raises `RefKDError` for fewer than two studies or a reference of another length.
    """
    if len(paths) < 2:
        raise RefKDError("one study has nothing beside it; name two or more study files")
    opened = [open_snapshot(path) for path in paths]
    base = opened[0]
    above = list(reference) if reference else [0.0] * len(base.file.objectives)
    if len(above) != len(base.file.objectives):
        raise RefKDError(
            f"--reference has {len(above)} values; {_label(base)} has the objectives "
            f"{', '.join(base.file.objectives)}: give one for each"
        )
    notes, differences = list[str](), list[ChampionDifference]()
    for other in opened[1:]:
        if other.file.objectives != base.file.objectives:
            notes.append(f"{_label(other)}: has other objectives, so no common hypervolume")
        try:
            differences += _differences(base, other)
        except (_UnpairedError, CheckpointError, DataError) as why:
            notes.append(f"{_label(other)}: no paired differences: {why}")
    return SideBySide(
        reference=above,
        studies=[_standing(one, base, above) for one in opened],
        differences=differences,
        notes=notes,
    )


def _label(study: StudySnapshot) -> str:
    """Return what a study is called beside another one."""
    return f"{study.name} ({study.path})"


def _students(study: StudySnapshot, alias: str) -> list[FrozenStudent]:
    """Return the students whose mean stands for a champion."""
    number = study.champions[alias]
    if study.finalists is None:
        folders = study.student_folders(number)
    else:
        seeds = range(len(study.finalists.seeds))
        folders = [finalist_folder(study.folder, number, replicate) for replicate in seeds]
    return [open_student(folder) for folder in folders]


def _standing(one: StudySnapshot, base: StudySnapshot, reference: Sequence[float]) -> StudyRow:
    summary = one.summary
    complete = [v for v in current(one.trials) if v.feasible and v.objectives]
    points = np.array([v.objectives for v in complete]).reshape(len(complete), -1)
    best = {}
    if complete:
        for column, name in enumerate(one.file.objectives):
            row = int(points[:, column].argmax())
            best[name] = (complete[row].number, float(points[row, column]))
    alike = one.file.objectives == base.file.objectives
    return StudyRow(
        study=summary.study,
        path=str(one.path),
        dataset=one.attributes.get("dataset"),
        objectives=one.file.objectives,
        states=dict(Counter(t.state for t in summary.trials)),
        best=best,
        front=len(summary.front),
        hypervolume=_volume(points, reference) if alike else None,
        epochs=summary.cost.epochs,
        cpu_seconds=summary.cost.cpu_seconds + summary.cost.teacher_cpu_seconds,
        champions=one.champions,
        from_finalists=one.finalists is not None,
    )


def _volume(points: np.ndarray[Any, Any], reference: Sequence[float]) -> float:
    """Return what some points dominate above a reference; points not above it add nothing."""
    if not len(points):
        return 0.0
    above = points - np.asarray(reference)
    return hypervolume([list(row) for row in above if (row > 0).all()])


class _UnpairedError(Exception):
    """Why two studies' champions cannot be compared pair by pair."""


def _differences(base: StudySnapshot, other: StudySnapshot) -> list[ChampionDifference]:
    fingerprint = base.attributes.get("dataset")
    if fingerprint is None or other.attributes.get("dataset") != fingerprint:
        raise _UnpairedError("it was searched on another dataset")
    dataset = Dataset.open(base.file.dataset)
    if dataset.fingerprint != fingerprint:
        raise _UnpairedError(f"{base.file.dataset} is not the dataset of the studies any more")
    shared = [alias for alias in base.champions if alias in other.champions]
    if not shared:
        raise _UnpairedError("one of the two has no champion yet")
    return [_difference(base, other, alias, dataset) for alias in shared]


def _difference(
    base: StudySnapshot, other: StudySnapshot, alias: str, dataset: Dataset
) -> ChampionDifference:
    roles = (dataset.role("val_id"), dataset.role("val_ood"))
    first, second = _students(base, alias), _students(other, alias)
    before, after = (measure(students, dataset, roles) for students in (first, second))
    rows = {
        pairs.role: difference_row(after[pairs.role], before[pairs.role], seed=base.file.seed)
        for pairs in roles
    }
    seeds = len(first), len(second)
    return ChampionDifference(alias=alias, other=_label(other), seeds=seeds, roles=rows)
