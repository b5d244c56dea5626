"""Tables of studies side by side."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table

from refkd.evaluation.comparison import MEANING, Figure
from tune.results.side_by_side import ChampionDifference, SideBySide, StudyRow

METRICS = {"miou": "mIoU", "r1_iou0.3": "R1@0.3", "r1_iou0.5": "R1@0.5", "r1_iou0.7": "R1@0.7"}


def show_studies(console: Console, found: SideBySide) -> None:
    """Print a column a study, then the differences of their champions."""
    table = _table("Studies side by side", "", *(one.study for one in found.studies))
    for name, shown in _rows(found).items():
        table.add_row(name, *(shown(one) for one in found.studies))
    console.print(table)
    for difference in found.differences:
        console.print(_difference_table(difference, found.studies[0].study))
    if found.differences:
        _say(
            console,
            f"Percent on the same validation pairs. {MEANING} *: leaves 0 out. A champion of a "
            "search is the best of many tries; compare finalists (`refkd finalists`) to conclude "
            "anything.",
        )
    for note in found.notes:
        _say(console, note, "yellow")


def _rows(found: SideBySide) -> dict[str, Callable[[StudyRow], str]]:
    reference = ", ".join(f"{value:g}" for value in found.reference)
    names = dict.fromkeys(name for one in found.studies for name in one.objectives)

    def best(name: str) -> Callable[[StudyRow], str]:
        def shown(one: StudyRow) -> str:
            number, value = one.best.get(name, (None, 0.0))
            return "" if number is None else f"{value:.2f} (trial {number})"

        return shown

    return {
        "study file": lambda one: one.path,
        "dataset": lambda one: (one.dataset or "unknown")[:12],
        "trials": lambda one: ", ".join(f"{n} {state}" for state, n in sorted(one.states.items())),
        **{f"best {name}": best(name) for name in names},
        "front": lambda one: f"{one.front} trials",
        f"hypervolume above {reference}": lambda one: (
            "" if one.hypervolume is None else f"{one.hypervolume:,.1f}"
        ),
        "student epochs": lambda one: f"{one.epochs:,}",
        "CPU seconds": lambda one: f"{one.cpu_seconds:,.0f}",
        "champions": lambda one: (
            ", ".join(f"{alias} {number}" for alias, number in sorted(one.champions.items()))
            + (", fresh seeds" if one.from_finalists else ", one seed" if one.champions else "")
        ),
    }


def _difference_table(difference: ChampionDifference, base: str) -> Table:
    first, second = difference.seeds
    title = f"{difference.alias}: {difference.other} - {base} (students: {second} against {first})"
    table = _table(title, "role", *METRICS.values())
    for role, row in difference.roles.items():
        table.add_row(role, *(_shown(row[metric]) for metric in METRICS))
    return table


def _shown(figure: Figure) -> str:
    mark = "*" if figure.is_above_zero or figure.is_below_zero else " "
    return f"{figure.text(sign=True)}{mark}"


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for place, name in enumerate(heads):
        table.add_column(name, justify="left" if place == 0 else "right")
    return table


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
