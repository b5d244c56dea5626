"""A search at a moment, read from its storage alone, and the live view of one until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from tune.display.console import (
    ID,
    OOD,
    amount,
    make_table,
    metric_name,
    say,
    say_caveats,
    score,
    states,
)
from tune.display.status import Running, SearchStatus, search_status
from tune.study.snapshot import StudyReader

PHASES = {
    "teachers": "training the teachers",
    "searching": "searching",
    "finishing": "all trials have ended; the champions are being scored",
    "ended": "ended",
    "stopped": "nobody is at work and trials are left: run `refkd search` to continue",
}
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

    On a terminal the view is redrawn; elsewhere a line is printed where something has changed,
    and one the first time that something is wrong.
    """
    last, known = "", set[tuple[str, str]]()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        while True:
            status = search_status(reader.read())
            if live is not None:
                live.update(draw(status), refresh=True)
            elif (line := as_line(status)) != last:
                say(console, line)
                last = line
                new = [one for one in status.health if (one.check, one.about) not in known]
                say_caveats(console, [str(one) for one in new])
                known |= {(one.check, one.about) for one in new}
            if status.phase in ("ended", "stopped"):
                return status
            sleep(every)


def as_line(status: SearchStatus) -> str:
    """Return a search as one line for logs and pipes."""
    best = _best_words(status)
    parts = [
        f"{status.ended} of {status.wanted} trials ended",
        f"{len(status.running)} running",
        f"best {best}" if best else "none complete yet",
        PHASES[status.phase] + (f" ({status.summary.stopped})" if status.summary.stopped else ""),
    ]
    return f"study {status.study}: " + "; ".join(parts)


def draw(status: SearchStatus) -> Group:
    """Return a search as a terminal shows it."""
    counts = TextColumn("{task.description}")
    bar = Progress(TextColumn("trials"), BarColumn(), MofNCompleteColumn(), counts)
    total = max(status.wanted, status.ended)
    bar.add_task(states(status.states), total=total, completed=status.ended)
    best = _best_words(status)
    scored = {name: metric_name(name) for name in (ID, OOD, *status.summary.objectives)}
    front = f"front of {status.front}, hypervolume {status.hypervolume:,.1f}"
    lines: list[RenderableType] = [
        Text(f"study {status.study}: {PHASES[status.phase]}", style="bold"),
        *([Text(status.summary.stopped)] if status.summary.stopped else []),
        Text(f"driver: {status.driver or 'none'}", style="dim"),
        bar,
        Text(f"best: {best}; {front}" if best else "best: none complete yet"),
    ]
    if status.running:
        running = ("running", "epoch", *scored.values(), "loss", "last epoch")
        table = make_table("", running, box=None)
        for trial in status.running:
            style = "yellow" if trial.silent and trial.silent > _SILENT else ""
            scores = (score(trial.metrics, name) for name in (*scored, "train/loss"))
            epoch = f"{trial.epoch}/{status.epochs}"
            table.add_row(str(trial.number), epoch, *scores, _since(trial), style=style)
        lines.append(table)
    if status.latest:
        latest = ("ended", "state", "epoch", *scored.values())
        table = make_table("", latest, box=None)
        for ended in map(status.summary.trial, status.latest):
            scores = (score(ended.metrics, name) for name in scored)
            table.add_row(str(ended.number), ended.state, str(ended.epoch), *scores, style="dim")
        lines.append(table)
    lines += [Text(f"! {finding}", style="bold yellow") for finding in status.health]
    return Group(*lines)


def _best_words(status: SearchStatus) -> str:
    found = status.best.items()
    return ", ".join(f"{k} {amount(k, b.value)} (trial {b.trial})" for k, b in found)


def _since(trial: Running) -> str:
    if trial.paused:
        return "paused"
    return "none yet" if trial.silent is None else f"{trial.silent:.0f} s ago"
