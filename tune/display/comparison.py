"""Comparisons of systems in words and rows, and the tables of a terminal that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from refkd.evaluation.comparison import MEANING, PER_PAIR, Figure
from tune.display.console import (
    aliases_of,
    amount,
    make_table,
    metric_name,
    say,
    say_caveats,
    states,
)
from tune.display.study import probe_table
from tune.results.side_by_side import SideBySide, StudyRow
from tune.study.outcomes import Comparison, Finalist, Finalists, FinalReport, final_path
from tune.study.summary import standing_words

METRICS = {metric: metric_name(metric) for metric in PER_PAIR}
PAIRED = ("miou", "r1_iou0.5", "r1_iou0.7")
"""Metrics in which students and teachers are compared."""
CONVENTION = (
    "Percent under the project's convention: seconds, truth and prediction clamped to the video, "
    f"a hit is tIoU ≥ m, every pair counts. {MEANING} ±: standard deviation over seeds."
)
_MEANS = {
    "val_id/miou": "ID mIoU",
    "val_ood/miou": "OOD mIoU",
    "val/harmonic_miou": "harmonic",
    "val_id/r1_iou0.5": "ID R1@0.5",
    "val_ood/r1_iou0.5": "OOD R1@0.5",
}
_BESIDE = ("miou", "r1_iou0.3", "r1_iou0.5", "r1_iou0.7")
"""Metrics in which the champions of studies are compared."""


def system_words(system: str) -> str:
    """Return a system of a comparison in words.

    >>> system_words("trial-0007"), system_words("teacher-id")
    ('trial 7', 'ID teacher')
    """
    kind, _, name = system.partition("-")
    return f"{name.upper()} teacher" if kind == "teacher" else f"trial {int(name)}"


def difference_rows(comparison: Comparison) -> Iterator[list[str]]:
    """Yield the heads of a table, then every student - teacher."""
    yield ["role", "student", "teacher", *(METRICS[metric] for metric in PAIRED)]
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


def show_finalists(console: Console, found: Finalists, folder: Path) -> None:
    """Print the finalists' means and spreads, then champions and teachers side by side."""
    title = f"Finalists of {found.study}: mean over {found.seeds_text}"
    heads = ("trial", "", *_MEANS.values(), "CPU s")
    names = aliases_of(found.champions)
    rows = ([str(row.trial), names.get(row.trial, ""), *_means(row)] for row in found.finalists)
    console.print(make_table(title, heads, rows))
    for row in found.finalists:
        for run in (r for r in row.runs if r.failed is not None):
            say(console, f"trial {row.trial}, seed {run.seed}: failed: {run.failed}", "red")
    _show_comparison(console, found.comparison)
    for alias, standing in found.standings.items():
        say(console, standing_words(alias, standing))
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
    heads, *rows = difference_rows(comparison)
    console.print(make_table("Student - teacher, paired over pairs", heads, rows))
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


def show_studies(console: Console, found: SideBySide) -> None:
    """Print a column a study, then the differences of their champions."""
    columns = [_facts(one, found) for one in found.studies]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    heads = ["", *(one.study for one in found.studies)]
    console.print(make_table("Studies side by side", heads, rows))
    for made in found.differences:
        first, second = made.seeds
        base = found.studies[0].study
        title = f"{made.alias}: {made.other} - {base} (students: {second} against {first})"
        rows = [[role, *(_starred(row[m]) for m in _BESIDE)] for role, row in made.roles.items()]
        console.print(make_table(title, ["role", *(METRICS[m] for m in _BESIDE)], rows))
    if found.differences:
        say(
            console,
            f"Percent on the same validation pairs. {MEANING} *: leaves 0 out. A champion of a "
            "search is the best of many tries; compare finalists (`refkd finalists`) to conclude "
            "anything.",
        )
    for note in found.notes:
        say(console, note, "yellow")


def _facts(one: StudyRow, found: SideBySide) -> dict[str, str]:
    reference = ", ".join(f"{value:g}" for value in found.reference)
    champions = ", ".join(f"{alias} {number}" for alias, number in sorted(one.champions.items()))
    seeds = ", fresh seeds" if one.from_finalists else ", one seed" if one.champions else ""
    volume = "" if one.hypervolume is None else f"{one.hypervolume:,.1f}"
    best = {f"best {name}": "" for other in found.studies for name in other.objectives}
    best |= {f"best {n}": f"{amount(n, value)} (trial {t})" for n, (t, value) in one.best.items()}
    return {
        "study file": one.path,
        "dataset": (one.dataset or "unknown")[:12],
        "trials": states(one.states),
        **best,
        "front": f"{one.front} trials",
        f"hypervolume above {reference}": volume,
        "student epochs": f"{one.epochs:,}",
        "CPU seconds": f"{one.cpu_seconds:,.0f}",
        "champions": champions + seeds,
    }


def _starred(figure: Figure) -> str:
    leaves_zero_out = figure.is_above_zero or figure.is_below_zero
    return f"{figure.text(sign=True)}{'*' if leaves_zero_out else ' '}"
