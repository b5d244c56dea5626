"""Tables of studies side by side."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from refkd.evaluation.comparison import MEANING, Figure
from tune.display.comparison import METRICS
from tune.display.console import make_table, say, states
from tune.results.side_by_side import SideBySide, StudyRow

_METRICS = ("miou", "r1_iou0.3", "r1_iou0.5", "r1_iou0.7")


def show_studies(console: Console, found: SideBySide) -> None:
    """Print a column a study, then the differences of their champions."""
    heads = ["", *(one.study for one in found.studies)]
    facts = ([name, *map(shown, found.studies)] for name, shown in _facts(found).items())
    console.print(make_table("Studies side by side", heads, facts))
    for made in found.differences:
        first, second = made.seeds
        base = found.studies[0].study
        title = f"{made.alias}: {made.other} - {base} (students: {second} against {first})"
        heads = ["role", *(METRICS[metric] for metric in _METRICS)]
        rows = (
            [role, *(_difference(row[m]) for m in _METRICS)] for role, row in made.roles.items()
        )
        console.print(make_table(title, heads, rows))
    if found.differences:
        say(
            console,
            f"Percent on the same validation pairs. {MEANING} *: leaves 0 out. A champion of a "
            "search is the best of many tries; compare finalists (`refkd finalists`) to conclude "
            "anything.",
        )
    for note in found.notes:
        say(console, note, "yellow")


def _facts(found: SideBySide) -> dict[str, Callable[[StudyRow], str]]:
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
        "trials": lambda one: states(one.states),
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


def _difference(figure: Figure) -> str:
    leaves_zero_out = figure.is_above_zero or figure.is_below_zero
    return f"{figure.text(sign=True)}{'*' if leaves_zero_out else ' '}"
