"""The form of all that is printed in a terminal: tables, lines and cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tune.config.metrics import BALANCED, PARAMETERS

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
    if metric in _NAMES:
        return _NAMES[metric]
    role, _, name = metric.rpartition("/")
    shown = name.replace("miou", "mIoU").replace("map_avg", "mAP").replace("map_", "mAP@")
    shown = shown.replace("r1_iou", "R1@").replace("r5_iou", "R5@").replace("hit1", "HIT@1")
    return f"{role.removeprefix('val_').upper()} {shown}".strip()


_NAMES = {
    BALANCED: "harmonic mIoU",
    PARAMETERS: "parameters",
    "cost/epoch_seconds": "seconds an epoch",
    "cost/cpu_seconds": "CPU seconds",
    "cost/wall_seconds": "seconds",
}


def amount(metric: str | int, value: float) -> str:
    """Return a metric's value to two digits, and a count as a whole number.

    >>> amount("val_id/miou", 40.0), amount("model/parameters", 12345.0)
    ('40.00', '12,345')
    """
    return f"{value:,.0f}" if metric == PARAMETERS else f"{value:.2f}"


def trial_columns(objectives: Iterable[str]) -> dict[str, str]:
    """Return the metrics in a table of trials, with their heads: the scores and the objectives."""
    return SCORES | {name: metric_name(name) for name in objectives}


def axes_of(objectives: Sequence[str]) -> tuple[str, str]:
    """Return the metrics that a picture of a front has as its axes: two objectives, or the mIoUs.

    >>> axes_of(["val_ood/miou", "model/parameters"]), axes_of(["val_ood/miou"])[0]
    (('val_ood/miou', 'model/parameters'), 'val_id/miou')
    """
    if len(objectives) != 2 or set(objectives) == {ID, OOD}:
        return ID, OOD
    return objectives[0], objectives[1]


def axis_words(metric: str) -> str:
    """Return what stands beside an axis.

    >>> axis_words("val_ood/miou"), axis_words("model/parameters")
    ('OOD validation mIoU (%)', 'parameters')
    """
    side, _, name = metric_name(metric).partition(" ")
    return f"{side} validation {name} (%)" if metric.startswith("val_") else metric_name(metric)


SCORES = {
    metric: metric_name(metric) for metric in (ID, OOD, "val_id/r1_iou0.5", "val_ood/r1_iou0.5")
}
"""Metrics of a trial or a teacher in tables, and their heads."""


def score(metrics: Mapping[Any, float], name: str | int) -> str:
    """Return a metric as `amount` shows it; empty where it is not known."""
    return amount(name, metrics[name]) if name in metrics else ""


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
