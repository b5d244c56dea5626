"""Comparisons of systems in words and rows, for tables of a terminal and of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from refkd.evaluation.comparison import MEANING

if TYPE_CHECKING:
    from tune.study.outcomes import Comparison

METRICS = {
    "miou": "mIoU",
    "r1_iou0.3": "R1@0.3",
    "r1_iou0.5": "R1@0.5",
    "r1_iou0.7": "R1@0.7",
    "dr1_iou0.5": "dR1@0.5",
}
PAIRED = ("miou", "r1_iou0.5", "r1_iou0.7")
"""Metrics in which students and teachers are compared."""
DIFFERENCE_HEADS = ("role", "student", "teacher", *(METRICS[metric] for metric in PAIRED))
CONVENTION = (
    "Percent under the project's convention: seconds, truth and prediction clamped to the video, "
    f"a hit is tIoU ≥ m, every pair counts. {MEANING} ±: standard deviation over seeds."
)


def system_words(system: str) -> str:
    """Return a system of a comparison in words.

    >>> system_words("trial-0007"), system_words("teacher-id")
    ('trial 7', 'ID teacher')
    """
    kind, _, name = system.partition("-")
    return f"{name.upper()} teacher" if kind == "teacher" else f"trial {int(name)}"


def difference_rows(comparison: Comparison) -> Iterator[list[str]]:
    """Yield every student - teacher below `DIFFERENCE_HEADS`."""
    for role, students in comparison.differences.items():
        for student, teachers in students.items():
            for teacher, row in teachers.items():
                cells = (row[metric].text(sign=True) for metric in PAIRED)
                yield [role, system_words(student), system_words(teacher), *cells]


def floor_rows(
    floors: Mapping[str, Mapping[str, float]], metrics: Sequence[str] = tuple(METRICS)
) -> Iterator[list[str]]:
    """Yield name and scores of each predictor of one role that looks at no video."""
    for name, scores in floors.items():
        yield [name, *(f"{scores[metric]:.2f}" for metric in metrics)]


def best_floor(floors: Mapping[str, Mapping[str, float]] | None) -> tuple[str, float] | None:
    """Return name and mIoU of the best predictor of a role that looks at no video."""
    if not floors:
        return None
    name = max(floors, key=lambda n: floors[n]["miou"])
    return name, float(floors[name]["miou"])
