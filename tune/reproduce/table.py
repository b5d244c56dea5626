"""A table for people and programs: Markdown, CSV, LaTeX, and the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from textwrap import fill

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from refkd.evaluation.comparison import MEANING, Figure
from refkd.evaluation.metrics import LOGGED
from tune.reproduce.experiments import Experiment
from tune.reproduce.scores import SIDES, Claim, Scored
from tune.results.probe_rows import MEANING as PROBED
from tune.results.probe_rows import PROBE_HEADS, probe_row

HEADS = {**{f"r1_iou{threshold}": f"R1@{threshold}" for threshold in LOGGED}, "miou": "mIoU"}
PRINTED = tuple((side, metric) for side in SIDES for metric in HEADS)
"""Side and metric of the numbers that the paper prints, in this order."""
CONVENTION = (
    "percent; seconds, truth and prediction clamped to the video, a hit is tIoU >= m, every "
    "annotated pair counts"
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The numbers of a table or figure, and how they came about."""

    experiment: Experiment
    scored: Scored
    command: str
    """What to type for the same table."""
    dataset: str
    family: str | None
    """Whose printed numbers stand beside ours."""
    scale: str
    seeds: int
    caveats: Mapping[str, str]
    """By row: that it is a reconstruction, or leaks."""
    subset: str | None
    """What part of the published dataset this is; None for all of it."""
    simulated: bool
    """Whether the features were made from the annotations."""
    test_evaluations: Sequence[str]
    """Every evaluation of the test roles so far; empty where validation is shown."""

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Side and metric of each column."""
        return [(side, metric) for side in SIDES for metric in self.experiment.metrics]

    @property
    def heads(self) -> list[str]:
        """What stands above each column."""
        return [f"{side.upper()} {HEADS[metric]}" for side, metric in self.cells]

    def rows(self, cell: Callable[[Figure], str]) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield each row's name, its cells, and the paper's cells where it has the row."""
        for label, row in self.scored.rows.items():
            paper = printed(self.family, self.experiment.name, label)
            theirs = [f"{paper[key]:.2f}" if key in paper else "–" for key in self.cells]
            ours = [cell(row[side][metric]) for side, metric in self.cells]
            name = f"{label} ({self.caveats[label]})" if label in self.caveats else label
            yield name, ours, theirs if paper else []


def notes(result: Result) -> list[str]:
    """Return the sentences below a table."""
    scored = result.scored
    roles = " and ".join(f"{scored.roles[s]} ({scored.pairs[s]:,} pairs)" for s in SIDES)
    seeds = f"{result.seeds} seeds" if result.seeds > 1 else "1 seed"
    found = [
        f"Made by `{result.command}`; every row's settings: settings.yaml, its runs: runs.jsonl.",
        f"{result.dataset}, scale {result.scale}, {seeds} a row; {roles}; {CONVENTION}.",
        f"Cell: mean ± standard deviation over seeds, and interval. {MEANING} Teachers and "
        "student of a seed belong together.",
    ]
    if result.subset:
        found.append(f"Subset: {result.subset}. The paper's numbers are of the whole dataset.")
    if result.simulated:
        found.append(
            "Simulated: the features were made from the annotations, no video was looked at; only "
            "differences between rows of this table mean anything."
        )
    if result.experiment.kind == "table" and result.family:
        split = "test_id and test_ood"
        found.append(f"paper: as printed there, on {split}, one seed, convention not stated.")
    found += [f"{label}: {caveat}." for label, caveat in result.caveats.items()]
    found += [f"Test roles: {title}." for title in result.test_evaluations]
    floors = "; ".join(f"{s.upper()} {max(scored.floors[s].values()):.2f}" for s in SIDES)
    found.append(f"Best predictor that never sees the video, mIoU: {floors}.")
    found += [_claim(claim) for claim in scored.claims]
    for label, cells in scored.ablations.items():
        parts = [f"{s.upper()} {cells[s]['miou'].text(sign=True)}" for s in SIDES]
        found.append(f"{label} - RefKD (mIoU, paired): {', '.join(parts)}")
    return found


def _claim(claim: Claim) -> str:
    parts = [
        f"{side.upper()} against the {teacher.upper()} teacher "
        f"{cells[side]['miou'].text(sign=True)}"
        for side in SIDES
        for teacher, cells in claim.differences.items()
    ]
    return (
        f'{claim.student}, "at least as good as both teachers on both" (mIoU, paired): '
        f"{claim.verdict}; {'; '.join(parts)}"
    )


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


def family_of(dataset: str) -> str | None:
    """Return whose numbers belong beside a dataset of this name; None for any other.

    >>> family_of("charades-cd-clip"), family_of("quickstart")
    ('charades-cd', None)
    """
    known = {"charades": "charades-cd", "activitynet": "activitynet-cd", "anet": "activitynet-cd"}
    return next((family for word, family in known.items() if word in dataset.lower()), None)


def printed(family: str | None, table: str, row: str) -> dict[tuple[str, str], float]:
    """Return the paper's cells of a row by side (`id`, `ood`) and metric, those it has."""
    tables = {} if family is None else paper_numbers()[family]
    values = tables.get(table, {}).get(row, [None] * len(PRINTED))
    return {cell: v for cell, v in zip(PRINTED, values, strict=True) if v is not None}


@cache
def paper_numbers() -> dict[str, dict[str, dict[str, list[float | None]]]]:
    """Return what the paper prints, by family, table and row."""
    text = files("tune.reproduce").joinpath("paper.yaml").read_text(encoding="utf-8")
    numbers: dict[str, dict[str, dict[str, list[float | None]]]] = yaml.safe_load(text)
    return numbers
