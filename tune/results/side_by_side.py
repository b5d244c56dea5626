"""Studies side by side: what each found and cost, and paired differences of their champions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError, DataError, RefKDError
from refkd.evaluation.comparison import Row, difference_row
from refkd.evaluation.predictions import measure
from refkd.training.export import FrozenStudent
from refkd.training.validation import VALIDATION_ROLES
from tune.results.comparison import open_students
from tune.study.ranking import best_by_objective, current, hypervolume
from tune.study.snapshot import StudySnapshot, open_snapshot


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

    Champions are compared on validation where the studies share their dataset and the students are
    here. Raises `RefKDError` for fewer than two studies or a reference of another length.
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
    if min(base.signs) < 0 and not reference:
        notes.append("no hypervolume above 0 of an objective that is minimised; give --reference")
    for other in opened[1:]:
        if (other.file.objectives, other.signs) != (base.file.objectives, base.signs):
            notes.append(f"{_label(other)}: has other objectives, so no common hypervolume")
        try:
            differences += _differences(base, other)
        except (CheckpointError, DataError) as why:
            notes.append(f"{_label(other)}: no paired differences: {why}")
    return SideBySide(
        reference=above,
        studies=[_row(one, base, above) for one in opened],
        differences=differences,
        notes=notes,
    )


def _label(study: StudySnapshot) -> str:
    """Return the name of a study in messages of a comparison."""
    return f"{study.name} ({study.path})"


def _students(study: StudySnapshot, alias: str) -> list[FrozenStudent]:
    """Return the students of a champion, whose mean is compared."""
    found = study.finalists
    number = study.champions[alias]
    if found:
        return open_students(study.folder, [number], found.students(number), finalist=True)
    trials, seeds = study.summary.trial(number).members, study.file.replicates.seeds
    return open_students(study.folder, trials, seeds, finalist=False)


def _row(one: StudySnapshot, base: StudySnapshot, reference: Sequence[float]) -> StudyRow:
    summary = one.summary
    complete, volume = current(one.trials), None
    if (one.file.objectives, one.signs) == (base.file.objectives, base.signs):
        points = [v.gains for v in complete if v.feasible and v.gains]
        low = [sign * bound for sign, bound in zip(base.signs, reference, strict=True)]
        above = [[a - b for a, b in zip(values, low, strict=True)] for values in points]
        volume = hypervolume([row for row in above if min(row) > 0])
    return StudyRow(
        study=summary.study,
        path=str(one.path),
        dataset=one.attributes.get("dataset"),
        objectives=one.file.objectives,
        states=dict(Counter(t.state for t in summary.trials)),
        best=best_by_objective(one.file.objectives, complete),
        front=len(summary.front),
        hypervolume=volume,
        epochs=summary.cost.epochs,
        cpu_seconds=summary.cost.cpu_seconds + summary.cost.teacher_cpu_seconds,
        champions=one.champions,
        from_finalists=one.finalists is not None,
    )


def _differences(base: StudySnapshot, other: StudySnapshot) -> list[ChampionDifference]:
    fingerprint = base.attributes.get("dataset")
    if fingerprint is None or other.attributes.get("dataset") != fingerprint:
        raise DataError("it was searched on another dataset")
    dataset = Dataset.open(base.file.dataset)
    if dataset.fingerprint != fingerprint:
        raise DataError(f"{base.file.dataset} is not the dataset of the studies any more")
    shared = [alias for alias in base.champions if alias in other.champions]
    if not shared:
        raise DataError("one of the two has no champion yet")
    roles, found = [dataset.role(role) for role in VALIDATION_ROLES], []
    for alias in shared:
        first, second = _students(base, alias), _students(other, alias)
        before, after = (measure(students, dataset, roles) for students in (first, second))
        rows = {
            role: difference_row(after[role], before[role], seed=base.file.seed)
            for role in VALIDATION_ROLES
        }
        seeds = len(first), len(second)
        found.append(ChampionDifference(alias=alias, other=_label(other), seeds=seeds, roles=rows))
    return found
