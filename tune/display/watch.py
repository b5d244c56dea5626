"""A search at a moment, read from its storage alone, and the live view of one until it ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

from pydantic import Field
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from refkd.config import Config
from tune.display.console import ID, OOD, make_table, say, score, states
from tune.study.ranking import best_by_objective, hypervolume
from tune.study.snapshot import StudyReader, StudySnapshot
from tune.study.state import StudyState
from tune.study.summary import Summary
from tune.study.view import ENDED, EPOCH, TrialView, key_of

LATEST = 5
"""How many of the trials that ended last are shown."""
PHASES = {
    "teachers": "training the teachers",
    "searching": "searching",
    "finishing": "all trials have ended; the champions are being scored",
    "ended": "ended",
    "stopped": "nobody is at work and trials are left: run `refkd search` to continue",
}
Phase = Literal["teachers", "searching", "finishing", "ended", "stopped"]
_SILENT = 120.0
"""Seconds without an epoch after which a trial is shown in yellow."""


class Running(Config):
    """A trial that has not ended."""

    number: int
    epoch: int
    metrics: dict[str, float]
    silent: float | None
    """Seconds since its last epoch was stored."""
    paused: bool


class Best(Config):
    """The best of the complete trials in one objective."""

    trial: int
    value: float


class SearchStatus(Config):
    """A search at one moment."""

    study: str
    phase: Phase
    """`stopped`: nobody is at work and trials are left."""
    driver: str | None
    """Who is at work."""
    ended: int
    wanted: int
    epochs: int
    """Epochs of a whole trial."""
    states: dict[str, int]
    running: list[Running]
    latest: list[int] = Field(default_factory=list)
    """Trials that ended last, the last one first."""
    best: dict[str, Best]
    front: int
    hypervolume: float
    """Above 0."""
    summary: Summary = Field(exclude=True)


def search_status(study: StudySnapshot) -> SearchStatus:
    """Return how far a study's search is."""
    summary = study.summary
    points = [t.objectives for t in study.trials if t.number in summary.front and t.objectives]
    ended = [trial for trial in study.trials if ENDED in trial.stamps]
    ended.sort(key=lambda trial: trial.stamps[ENDED].place, reverse=True)
    return SearchStatus(
        study=study.name,
        phase=_phase(study),
        driver=None if study.driver is None else str(study.driver),
        ended=summary.ended,
        wanted=summary.wanted,
        epochs=int(study.attributes.get("epochs", 0)),
        states=dict(Counter(t.state for t in study.trials)),
        running=[_running(t) for t in study.trials if t.state == "RUNNING"],
        latest=[trial.number for trial in ended[:LATEST]],
        best={
            name: Best(trial=number, value=value)
            for name, (number, value) in best_by_objective(
                summary.objectives, study.ended("COMPLETE")
            ).items()
        },
        front=len(summary.front),
        hypervolume=hypervolume(points),
        summary=summary,
    )


def _phase(study: StudySnapshot) -> Phase:
    if study.state == StudyState.SEARCHING:
        return "searching" if study.trials else "teachers"
    if study.state.has_trials_left:
        return "stopped"
    return "ended" if study.driver is None else "finishing"


def _running(trial: TrialView) -> Running:
    stamp = trial.stamps.get(key_of(EPOCH, trial.epoch))
    return Running(
        number=trial.number,
        epoch=trial.epoch,
        metrics={k: v for k, v in trial.last.items() if k in (ID, OOD, "train/loss")},
        silent=None if stamp is None else max(0.0, time.time() - stamp.time),
        paused=trial.paused_at is not None,
    )


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
    last = ""
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        while True:
            status = search_status(reader.read())
            if live is not None:
                live.update(draw(status), refresh=True)
            elif (line := as_line(status)) != last:
                say(console, line)
                last = line
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
        PHASES[status.phase],
    ]
    return f"study {status.study}: " + "; ".join(parts)


def draw(status: SearchStatus) -> Group:
    """Return a search as a terminal shows it."""
    bar = Progress(
        TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    )
    total = max(status.wanted, status.ended)
    bar.add_task(states(status.states), total=total, completed=status.ended)
    best = _best_words(status)
    front = f"front of {status.front}, hypervolume {status.hypervolume:,.1f}"
    lines: list[RenderableType] = [
        Text(f"study {status.study}: {PHASES[status.phase]}", style="bold"),
        Text(f"driver: {status.driver or 'none'}", style="dim"),
        bar,
        Text(f"best: {best}; {front}" if best else "best: none complete yet"),
    ]
    if status.running:
        running = ("running", "epoch", "ID mIoU", "OOD mIoU", "loss", "last epoch")
        table = make_table("", running, box=None)
        for trial in status.running:
            style = "yellow" if trial.silent and trial.silent > _SILENT else ""
            scores = (score(trial.metrics, name) for name in (ID, OOD, "train/loss"))
            epoch = f"{trial.epoch}/{status.epochs}"
            table.add_row(str(trial.number), epoch, *scores, _since(trial), style=style)
        lines.append(table)
    if status.latest:
        latest = ("ended", "state", "epoch", "ID mIoU", "OOD mIoU")
        table = make_table("", latest, box=None)
        for ended in map(status.summary.trial, status.latest):
            scores = (score(ended.metrics, name) for name in (ID, OOD))
            table.add_row(str(ended.number), ended.state, str(ended.epoch), *scores, style="dim")
        lines.append(table)
    return Group(*lines)


def _best_words(status: SearchStatus) -> str:
    return ", ".join(f"{k} {b.value:.2f} (trial {b.trial})" for k, b in status.best.items())


def _since(trial: Running) -> str:
    if trial.paused:
        return "paused"
    return "none yet" if trial.silent is None else f"{trial.silent:.0f} s ago"
