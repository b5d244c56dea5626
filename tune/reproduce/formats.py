"""A table as Markdown, CSV and LaTeX, and in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from rich import box
from rich.console import Console
from rich.table import Table

from refkd.evaluation.comparison import Figure
from tune.reproduce.table import CONVENTION, Result, notes, printed
from tune.results.probe_rows import MEANING as PROBED
from tune.results.probe_rows import PROBE_HEADS, probe_row


def markdown(result: Result) -> str:
    """Return the table as Markdown, its notes below, then the bias probes of every row."""
    rows = []
    for name, ours, paper in result.rows(lambda figure: figure.text(spread=True)):
        rows.append([name, *ours])
        if paper:
            rows.append(["*paper*", *(f"*{cell}*" for cell in paper)])
    below = [f"- {note}" for note in notes(result)]
    probes = [[k, *probe_row(one.model_dump())] for k, one in result.scored.probes.items()]
    explained = PROBED.replace("mIoU", "mIoU of each row's first seed", 1)
    explained = fill(f"{explained} By place of the moment: in the JSON file.", width=99)
    return "\n".join(
        [
            *(f"# {result.experiment.title}", ""),
            *(*_pipe_table(result.heads, rows), ""),
            *(*below, ""),
            *("## Bias probes", ""),
            *(explained, ""),
            *(*_pipe_table(PROBE_HEADS, probes), ""),
        ]
    )


def _pipe_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [["system", *heads], ["---", *["---:"] * len(heads)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def comma_separated(result: Result) -> str:
    """Return a cell a row, for programs."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    numbers = ("value", "low", "high", "sd", "seeds")
    writer.writerow(("table", "system", "side", "metric", *numbers, "paper", "mark", "convention"))
    table = result.experiment.name
    for label, row in result.scored.rows.items():
        paper, caveat = printed(result.family, table, label), result.caveats.get(label, "")
        for side, metric in result.cells:
            cell = row[side][metric]
            values = (cell.value, cell.low, cell.high, cell.sd)
            spelt = ["" if value is None else f"{value:.4f}" for value in values]
            theirs = paper.get((side, metric), "")
            writer.writerow(
                [table, label, side, metric, *spelt, result.seeds, theirs, caveat, CONVENTION]
            )
    return out.getvalue()


def latex(result: Result) -> str:
    """Return the table for a paper that uses booktabs."""
    lines = []
    for name, ours, paper in result.rows(_tex_cell):
        escaped = name.replace("&", "\\&").replace("%", "\\%").replace("_", "\\_")
        lines.append([escaped, *ours])
        if paper:
            lines.append(["\\quad paper", *paper])
    return "\n".join(
        [
            *(f"% {note}" for note in notes(result)),
            f"\\begin{{tabular}}{{l{'r' * len(result.heads)}}}",
            "\\toprule",
            f"{' & '.join(['system', *result.heads])} \\\\",
            "\\midrule",
            *(f"{' & '.join(line)} \\\\" for line in lines),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def _tex_cell(figure: Figure) -> str:
    if figure.sd is None:
        return f"{figure.value:.2f}"
    return f"${figure.value:.2f} \\pm {figure.sd:.2f}$"


def show_result(console: Console, result: Result, written: Sequence[Path]) -> None:
    """Print the table, the paper's numbers below ours, its notes, and where it was written."""
    table = Table(title=result.experiment.title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("system")
    for head in result.heads:
        table.add_column(head.replace(" ", "\n"), justify="right")
    for name, ours, paper in result.rows(_stacked):
        table.add_row(name, *ours)
        if paper:
            table.add_row("  paper", *paper, style="dim")
    console.print(table)
    for note in notes(result):
        console.print(note, markup=False, highlight=False)
    console.print()
    for file in written:
        console.print(f"  {file}", markup=False, highlight=False, soft_wrap=True)


def _stacked(figure: Figure) -> str:
    return f"{figure.value:.2f}" + ("" if figure.sd is None else f"\n± {figure.sd:.2f}")
