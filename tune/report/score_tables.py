"""Scores, paired differences and bias floors as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tune.display.final import METRICS
from tune.report.figure import Table
from tune.study.outcomes import Comparison


def score_table(comparison: Comparison) -> Table:
    """Return every score with its interval and spread, and the gaps between the roles."""
    rows = []
    for role, systems in comparison.scores.items():
        for name, row in systems.items():
            cells = [row[m].text(spread=True) for m in METRICS]
            rows.append([role, system_words(name), *cells])
    for name, gap in comparison.gaps.items():
        empty = [""] * (len(METRICS) - 1)
        rows.append(["ID − OOD gap", system_words(name), gap.text(sign=True), *empty])
    return Table(heads=["role", "system", *METRICS.values()], rows=rows)


def difference_table(comparison: Comparison) -> Table:
    """Return every student - teacher."""
    metrics = {"miou": "mIoU", "r1_iou0.5": "R1@0.5", "r1_iou0.7": "R1@0.7"}
    rows = [
        [
            role,
            system_words(student),
            system_words(teacher),
            *(row[m].text(sign=True) for m in metrics),
        ]
        for role, students in comparison.differences.items()
        for student, teachers in students.items()
        for teacher, row in teachers.items()
    ]
    return Table(heads=["role", "student", "teacher", *metrics.values()], rows=rows)


def floor_table(
    floors: Mapping[str, Mapping[str, Mapping[str, float]]], metrics: Sequence[str]
) -> Table:
    """Return the scores of predictors that look at no video."""
    rows = [
        [role, floor, *(f"{scores[m]:.2f}" for m in metrics)]
        for role, held in floors.items()
        for floor, scores in held.items()
    ]
    return Table(heads=["role", "bias floor", *(METRICS[m] for m in metrics)], rows=rows)


def system_words(system: str) -> str:
    """Return a system of a comparison in words: `trial-0007` or `teacher-id`."""
    kind, _, name = system.partition("-")
    return f"{name.upper()} teacher" if kind == "teacher" else f"trial {int(name)}"
