"""Tables of finalists and of the final evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tune.display.comparison import (
    CONVENTION,
    DIFFERENCE_HEADS,
    METRICS,
    difference_rows,
    floor_rows,
    system_words,
)
from tune.display.console import aliases_of, make_table, say, say_caveats
from tune.display.study import probe_table
from tune.study.outcomes import final_path

if TYPE_CHECKING:
    from tune.study.outcomes import Comparison, Finalist, Finalists, FinalReport

_MEANS = {
    "val_id/miou": "ID mIoU",
    "val_ood/miou": "OOD mIoU",
    "val/harmonic_miou": "harmonic",
    "val_id/r1_iou0.5": "ID R1@0.5",
    "val_ood/r1_iou0.5": "OOD R1@0.5",
}


def show_finalists(console: Console, found: Finalists, folder: Path) -> None:
    """Print the finalists' means and spreads, then champions and teachers side by side."""
    title = f"Finalists of {found.study}: mean over {len(found.seeds)} fresh seeds"
    heads = ("trial", "", *_MEANS.values(), "CPU s")
    names = aliases_of(found.champions)
    rows = ([str(row.trial), names.get(row.trial, ""), *_means(row)] for row in found.finalists)
    console.print(make_table(title, heads, rows))
    for row in found.finalists:
        for run in (r for r in row.runs if r.failed is not None):
            say(console, f"trial {row.trial}, seed {run.seed}: failed: {run.failed}", "red")
    _show_comparison(console, found.comparison)
    say_caveats(console, found.marks)
    say(console, f"champions: {folder / 'finalists' / 'champions'}")


def show_final(console: Console, report: FinalReport, folder: Path) -> None:
    """Print the scores on the test roles, below how often they were opened and why."""
    style = "bold" if report.look.reason is None else "bold yellow"
    for look in report.looks[:-1]:
        say(console, f"earlier: {look.title.removeprefix('this is ')} ({look.user}, {look.time})")
    say(console, f"study {report.look.study}: {report.look.title}", style)
    for alias, champion in sorted(report.look.champions.items()):
        count = len(champion.students)
        students = "1 student" if count == 1 else f"mean of {count} students"
        say(console, f"  {alias}: trial {champion.trial}, {students}")
    _show_comparison(console, report.comparison)
    say_caveats(console, report.marks)
    origin = "finalists on fresh seeds" if report.from_finalists else "students of the search"
    dataset = report.look.dataset[:12]
    say(console, f"champions: {origin}; features: {report.features}; dataset {dataset}")
    say(console, f"result: {final_path(folder, report.look.look)}")


def _show_comparison(console: Console, comparison: Comparison) -> None:
    for role, systems in comparison.scores.items():
        title = f"{role}: {comparison.pairs[role]:,} pairs"
        table = make_table(title, ("system", *METRICS.values()))
        for system, row in systems.items():
            cells = (row[metric].text(spread=True).replace(" [", "\n[") for metric in METRICS)
            table.add_row(system_words(system), *cells)
        table.add_section()
        for cells_of_floor in floor_rows(comparison.floors[role]):
            table.add_row(*cells_of_floor)
        console.print(table)
    rows = difference_rows(comparison)
    console.print(make_table("Student - teacher, paired over pairs", DIFFERENCE_HEADS, rows))
    if comparison.probes:
        probes = {system_words(n): found.model_dump() for n, found in comparison.probes.items()}
        console.print(probe_table(probes))
    gaps = ([system_words(n), gap.text(sign=True)] for n, gap in comparison.gaps.items())
    console.print(make_table("ID - OOD gap of mIoU", ("system", "gap"), gaps))
    say(console, CONVENTION)


def _means(row: Finalist) -> list[str]:
    if row.failures:
        return ["failed", *[""] * len(_MEANS)]
    cells = []
    for name in _MEANS:
        spread = row.metrics.get(f"sd/{name}")
        cells.append(f"{row.metrics[name]:.2f}" + ("" if spread is None else f" ± {spread:.2f}"))
    return [*cells, f"{row.metrics['cost/cpu_seconds']:.0f}"]
