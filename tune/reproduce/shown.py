"""A table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from refkd.evaluation.comparison import Figure
from tune.reproduce.scores import SIDES
from tune.reproduce.table import HEADS, lines, name_of, notes, printed_cell

if TYPE_CHECKING:
    from tune.reproduce.reproduce import Result


def show_result(console: Console, result: Result) -> None:
    """Print the table, the paper's numbers below ours, its notes, and where it was written."""
    asked, scored, facts = result.experiment, result.scored, result.facts
    made = Table(title=asked.title, title_justify="left", box=box.SIMPLE_HEAD)
    made.add_column("system")
    for side in SIDES:
        for metric in asked.metrics:
            made.add_column(f"{side.upper()}\n{HEADS[metric]}", justify="right")
    for line in lines(asked, scored, facts):
        made.add_row(name_of(line), *(_stacked(cell) for cell in line.ours.values()))
        if line.paper:
            made.add_row("  paper", *(printed_cell(line, key) for key in line.ours), style="dim")
    console.print(made)
    for note in notes(asked, scored, facts):
        console.print(note, markup=False, highlight=False)
    console.print()
    for file in result.files:
        console.print(f"  {file}", markup=False, highlight=False, soft_wrap=True)


def _stacked(figure: Figure) -> str:
    spread = "" if figure.sd is None else f"\n± {figure.sd:.2f}"
    return f"{figure.value:.2f}{spread}"
