"""The live view of a search that runs elsewhere: redrawn until the search has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from tune.display.search_status import SCORES, Running, SearchStatus, look
from tune.study.snapshot import StudyReader

PHASES = {
    "teachers": "training the teachers",
    "searching": "searching",
    "finishing": "all trials have ended; the champions are being scored",
    "ended": "ended",
    "stopped": "nobody is at work and trials are left: run `refkd search` to continue",
}
_HEADS = ("epoch", "ID mIoU", "OOD mIoU", "loss", "last epoch")
_SILENT = 120.0
"""Seconds without an epoch after which a trial is shown in yellow."""


def watch(
    console: Console,
    reader: StudyReader,
    *,
    every: float,
    sleep: Callable[[float], None] = time.sleep,
) -> SearchStatus:
    """Show a search until it has ended or stopped, and return how it was at the end.

    On a terminal the view is redrawn; elsewhere a line is printed where something has changed.
    """
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            for sight in _sights(reader, every, sleep):
                live.update(draw(sight), refresh=True)
        return sight
    told = ""
    for sight in _sights(reader, every, sleep):
        if (line := as_line(sight)) != told:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            told = line
    return sight


def _sights(
    reader: StudyReader, every: float, sleep: Callable[[float], None]
) -> Iterator[SearchStatus]:
    while True:
        sight = look(reader.read())
        yield sight
        if sight.phase in ("ended", "stopped"):
            return
        sleep(every)


def as_line(sight: SearchStatus) -> str:
    """Return a search as one line for logs and pipes."""
    best = _best(sight)
    parts = [
        f"{sight.ended} of {sight.wanted} trials ended",
        f"{len(sight.running)} running",
        f"best {best}" if best else "none complete yet",
        PHASES[sight.phase],
    ]
    return f"study {sight.study}: " + "; ".join(parts)


def draw(sight: SearchStatus) -> Group:
    """Return a search as a terminal shows it."""
    bar = Progress(
        TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    )
    states = ", ".join(f"{count} {state}" for state, count in sorted(sight.states.items()))
    bar.add_task(states, total=max(sight.wanted, sight.ended), completed=sight.ended)
    best = _best(sight)
    front = f"front of {sight.front}, hypervolume {sight.hypervolume:,.1f}"
    lines: list[RenderableType] = [
        Text(f"study {sight.study}: {PHASES[sight.phase]}", style="bold"),
        Text(f"driver: {sight.driver}" if sight.driver else "driver: none", style="dim"),
        bar,
        Text(f"best: {best}; {front}" if best else "best: none complete yet"),
    ]
    if sight.running:
        lines.append(_running_table(sight))
    if sight.latest:
        lines.append(_latest_table(sight))
    return Group(*lines)


def _best(sight: SearchStatus) -> str:
    return ", ".join(f"{k} {b.value:.2f} (trial {b.trial})" for k, b in sight.best.items())


def _running_table(sight: SearchStatus) -> Table:
    table = Table(box=None)
    for name in ("running", *_HEADS):
        table.add_column(name, justify="right")
    for trial in sight.running:
        style = "yellow" if trial.silent and trial.silent > _SILENT else ""
        epoch = f"{trial.epoch}/{sight.epochs}"
        cells = [_cell(trial.metrics.get(name)) for name in (*SCORES, "train/loss")]
        table.add_row(str(trial.number), epoch, *cells, _since(trial), style=style)
    return table


def _latest_table(sight: SearchStatus) -> Table:
    table = Table(box=None)
    for name in ("ended", "state", "epoch", "ID mIoU", "OOD mIoU"):
        table.add_column(name, justify="right")
    for number in sight.latest:
        trial = sight.summary.trial(number)
        cells = [_cell(trial.metrics.get(name)) for name in SCORES]
        table.add_row(str(number), trial.state, str(trial.epoch), *cells, style="dim")
    return table


def _since(trial: Running) -> str:
    if trial.paused:
        return "paused"
    return "none yet" if trial.silent is None else f"{trial.silent:.0f} s ago"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
