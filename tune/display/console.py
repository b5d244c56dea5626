"""The form of all that is printed in a terminal: tables, lines and cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

ID, OOD = "val_id/miou", "val_ood/miou"
PLAIN_WIDTH = 124
"""Columns where the output is no terminal."""
_WORDS = (
    *("", "system", "student", "teacher", "role", "state", "type", "split", "predictor"),
    *("recipe", "backbone"),
)
"""Heads of columns that hold words; all others hold numbers."""


def make_console() -> Console:
    """Return the console of a command: as wide as the terminal, else `PLAIN_WIDTH`."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: no markup, no highlighting, no wrapping."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def say_caveats(console: Console, caveats: Sequence[str]) -> None:
    """Print what to know before a result is believed: leakage, a search that is not healthy."""
    for caveat in caveats:
        console.print(f"! {caveat}", style="bold yellow", markup=False, highlight=False)


def make_table(
    title: str, heads: Iterable[str], rows: Iterable[Iterable[str]] = (), **settings: Any
) -> Table:
    """Return a table, its columns of words flush left and all others flush right.

    `settings` are those of `rich.table.Table`.
    """
    settings.setdefault("box", box.SIMPLE_HEAD)
    table = Table(title=title, title_justify="left", caption_justify="left", **settings)
    for head in heads:
        table.add_column(head, justify="left" if head in _WORDS else "right")
    for row in rows:
        table.add_row(*row)
    return table


def metric_name(metric: str) -> str:
    """Return what a metric is called in tables.

    >>> metric_name("val_ood/r1_iou0.5")
    'OOD R1@0.5'
    """
    role, _, name = metric.rpartition("/")
    shown = name.replace("miou", "mIoU").replace("r1_iou", "R1@")
    return f"{role.removeprefix('val_').upper()} {shown}".strip()


SCORES = {
    metric: metric_name(metric) for metric in (ID, OOD, "val_id/r1_iou0.5", "val_ood/r1_iou0.5")
}
"""Metrics of a trial or a teacher in tables, and their heads."""


def score(metrics: Mapping[Any, float], name: str | int) -> str:
    """Return a metric to two digits; empty where it is not known."""
    return f"{metrics[name]:.2f}" if name in metrics else ""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "trial"), plural(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def states(counts: Mapping[str, int]) -> str:
    """Return how many trials are in each state.

    >>> states({"PRUNED": 2, "COMPLETE": 3})
    '3 COMPLETE, 2 PRUNED'
    """
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def aliases_of(champions: Mapping[str, int]) -> dict[int, str]:
    """Return the aliases of each champion's trial, joined."""
    names: dict[int, str] = {}
    for alias, number in sorted(champions.items()):
        names[number] = f"{names[number]}, {alias}" if number in names else alias
    return names
