"""A study's champions and teachers, compared on two roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.comparison import Row, difference_row, gap_row, mean_row, means
from refkd.evaluation.floors import bias_floors
from refkd.evaluation.predictions import Frozen, measure
from refkd.evaluation.probes import probe
from refkd.training.export import FrozenStudent, open_student
from refkd.training.imported.teacher import ImportedTeacher
from tune.study.folders import finalist_folders, student_folders
from tune.study.outcomes import Comparison


def system_name(trial: int) -> str:
    """Return what a trial is called in a comparison."""
    return f"trial-{trial:04d}"


def open_students(
    study_folder: Path, trials: Iterable[int], seeds: int, *, finalist: bool
) -> list[FrozenStudent]:
    """Return the students of some trials, from so many seeds each: of the search, or fresh."""
    folders = finalist_folders if finalist else student_folders
    return [open_student(one) for trial in trials for one in folders(study_folder, trial, seeds)]


def compare(
    students: Mapping[str, Sequence[Frozen]],
    teachers: Mapping[str, Frozen],
    dataset: Dataset,
    roles: tuple[Pairs, Pairs],
    *,
    seed: int,
) -> Comparison:
    """Score students, each trained from some seeds, and teachers on two roles, ID and OOD.

    `teachers` go by `id` and `ood`; as systems they are called `teacher-id` and `teacher-ood`.
    `seed` draws the resamples of the videos. A teacher that is imported has no network to probe.
    """
    tutors = {f"teacher-{role}": [teacher] for role, teacher in teachers.items()}
    systems: dict[str, Sequence[Frozen]] = {**tutors, **students}
    measured = {name: measure(frozen, dataset, roles) for name, frozen in systems.items()}
    inside, outside = (pairs.role for pairs in roles)

    def difference(student: str, tutor: str, role: str) -> Row:
        return difference_row(measured[student][role], measured[tutor][role], seed=seed)

    return Comparison(
        pairs={pairs.role: len(pairs) for pairs in roles},
        scores={
            role: {name: mean_row(by_role[role], seed=seed) for name, by_role in measured.items()}
            for role in (inside, outside)
        },
        differences={
            role: {
                student: {tutor: difference(student, tutor, role) for tutor in tutors}
                for student in students
            }
            for role in (inside, outside)
        },
        gaps={
            name: gap_row(by_role[inside], by_role[outside], seed=seed)["miou"]
            for name, by_role in measured.items()
        },
        floors={
            pairs.role: {
                name: means(scores)
                for name, scores in bias_floors(dataset.role("fit"), pairs).items()
            }
            for pairs in roles
        },
        probes={
            name: probe(frozen[0].backbone(dataset), *roles, seed=seed)
            for name, frozen in systems.items()
            if not isinstance(frozen[0], ImportedTeacher)
        },
    )
