"""Tables of finalists and of the final evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from refkd.evaluation.comparison import MEANING, Figure
from tune.display.probes import probe_table
from tune.display.study import say_marks
from tune.study.outcomes import final_path

if TYPE_CHECKING:
    from tune.study.outcomes import Comparison, Finalist, Finalists, FinalReport

METRICS = {
    "miou": "mIoU",
    "r1_iou0.3": "R1@0.3",
    "r1_iou0.5": "R1@0.5",
    "r1_iou0.7": "R1@0.7",
    "dr1_iou0.5": "dR1@0.5",
}
_MEANS = {
    "val_id/miou": "ID mIoU",
    "val_ood/miou": "OOD mIoU",
    "val/harmonic_miou": "harmonic",
    "val_id/r1_iou0.5": "ID R1@0.5",
    "val_ood/r1_iou0.5": "OOD R1@0.5",
}
CONVENTION = (
    "Percent under the project's convention: seconds, truth and prediction clamped to the video, "
    f"a hit is tIoU >= m, every pair counts. {MEANING} ±: standard deviation over seeds."
)


def show_finalists(console: Console, found: Finalists, folder: Path) -> None:
    """Print the finalists' means and spreads, then champions and teachers side by side."""
    title = f"Finalists of {found.study}: mean over {len(found.seeds)} fresh seeds"
    table = _table(title, "trial", "", *_MEANS.values(), "CPU s")
    names = _names(found.champions)
    for row in found.finalists:
        table.add_row(str(row.trial), names.get(row.trial, ""), *_means(row))
    console.print(table)
    for row in found.finalists:
        for run in (r for r in row.runs if r.failed is not None):
            _say(console, f"trial {row.trial}, seed {run.seed}: failed: {run.failed}", "red")
    _show_comparison(console, found.comparison)
    say_marks(console, found.marks)
    _say(console, f"champions: {folder / 'finalists' / 'champions'}")


def show_final(console: Console, report: FinalReport, folder: Path) -> None:
    """Print what the test roles have shown, under the count of looks and every reason."""
    style = "bold" if report.look.reason is None else "bold yellow"
    for look in report.looks[:-1]:
        _say(console, f"earlier: {look.title.removeprefix('this is ')} ({look.user}, {look.time})")
    _say(console, f"study {report.look.study}: {report.look.title}", style)
    for alias, champion in sorted(report.look.champions.items()):
        _say(console, f"  {alias}: trial {champion.trial}, {_counted(champion.students)}")
    _show_comparison(console, report.comparison)
    say_marks(console, report.marks)
    origin = "finalists on fresh seeds" if report.from_finalists else "students of the search"
    _say(
        console,
        f"champions: {origin}; features: {report.features}; dataset {report.look.dataset[:12]}",
    )
    _say(console, f"result: {final_path(folder, report.look.look)}")


def _show_comparison(console: Console, comparison: Comparison) -> None:
    for role, systems in comparison.scores.items():
        title = f"{role}: {comparison.pairs[role]:,} pairs"
        table = _table(title, "system", *METRICS.values())
        for system, row in systems.items():
            table.add_row(_named(system), *(_stacked(row[m]) for m in METRICS))
        table.add_section()
        for floor, scores in comparison.floors[role].items():
            table.add_row(floor, *(f"{scores[m]:.2f}" for m in METRICS))
        console.print(table)
    table = _table("Student - teacher, paired over pairs", "student", "teacher", "role", *_PAIRED)
    for role, students in comparison.differences.items():
        for student, teachers in students.items():
            for teacher, row in teachers.items():
                cells = (row[m].text(sign=True) for m in _PAIRED.values())
                table.add_row(_named(student), _named(teacher), role, *cells)
    console.print(table)
    if comparison.probes:
        held = {system: found.model_dump() for system, found in comparison.probes.items()}
        console.print(probe_table(held, _named))
    table = _table("ID - OOD gap of mIoU", "system", "gap")
    for system, gap in comparison.gaps.items():
        table.add_row(_named(system), gap.text(sign=True))
    console.print(table)
    _say(console, CONVENTION)


_PAIRED = {"mIoU": "miou", "R1@0.5": "r1_iou0.5", "R1@0.7": "r1_iou0.7"}


def _means(row: Finalist) -> list[str]:
    if row.failures:
        return ["failed", *[""] * len(_MEANS)]
    cells = []
    for name in _MEANS:
        spread = row.metrics.get(f"sd/{name}")
        cells.append(f"{row.metrics[name]:.2f}" + ("" if spread is None else f" ± {spread:.2f}"))
    return [*cells, f"{row.metrics['cost/cpu_seconds']:.0f}"]


def _names(champions: Mapping[str, int]) -> dict[int, str]:
    """Return the aliases of each trial, joined."""
    names: dict[int, str] = {}
    for alias, number in sorted(champions.items()):
        names[number] = f"{names[number]}, {alias}" if number in names else alias
    return names


def _named(system: str) -> str:
    kind, _, number = system.partition("-")
    return f"trial {int(number)}" if kind == "trial" else system.replace("-", " ")


def _counted(students: Mapping[str, str]) -> str:
    return "1 student" if len(students) == 1 else f"mean of {len(students)} students"


def _stacked(figure: Figure) -> str:
    """Return value and spread, and the interval in a line below."""
    return figure.text(spread=True).replace(" [", "\n[")


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, justify="left" if head in ("", *_WORDS) else "right")
    return table


_WORDS = ("system", "student", "teacher", "role")


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
