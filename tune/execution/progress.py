"""What a terminal shows while a search runs: a live table, or plain lines where it is none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tune.execution.jobs import JobListener, TrainingJob
from tune.study.search_study import TrialRequest


class Reporter(JobListener):
    """What a launch reports to the person in front of it; nothing unless overridden.

    As a `JobListener` it is told of teachers, by the methods below of the trials of a search.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the display."""

    def stage(self, message: str) -> None:
        """Report a stage of the launch."""

    def search_begins(self, *, wanted: int, ended: int, epochs: int, workers: int) -> None:
        """Report how many trials there are to be, and how many have ended."""

    def trial_started(self, ask: TrialRequest) -> None:
        """Report a trial and its values."""

    def trial_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report an epoch of a trial."""

    def trial_ended(self, number: int, state: str, reason: str | None) -> None:
        """Report the outcome of a trial."""


class Silent(Reporter):
    """Reports nothing: for calls from Python."""


@dataclass
class _Tally:
    """How far a search is, and how long the rest may take."""

    wanted: int = 0
    ended: int = 0
    epochs: int = 0
    workers: int = 1
    states: dict[str, int] = field(default_factory=dict)
    running: dict[int, tuple[int, Mapping[str, float]]] = field(default_factory=dict)
    best: dict[str, tuple[float, int]] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    ended_here: int = 0

    def improve(self, number: int, metrics: Mapping[str, float]) -> None:
        for name in ("val_id/miou", "val_ood/miou"):
            if name in metrics:
                found = (metrics[name], number)
                self.best[name] = max(self.best.get(name, found), found)

    def time_left(self) -> str:
        """Extrapolate from the trials that ended in this launch."""
        if not self.ended_here:
            return "time left: unknown yet"
        seconds = (time.monotonic() - self.begun) / self.ended_here * (self.wanted - self.ended)
        return f"about {_duration(seconds)} left"

    def best_text(self) -> str:
        """Return the best scores of any epoch of any trial."""
        if not self.best:
            return "best mIoU of any epoch: none yet"
        texts = [f"{k.split('/')[0]} {v:.2f} (trial {n})" for k, (v, n) in self.best.items()]
        return "best mIoU of any epoch: " + ", ".join(texts)


class Lines(Reporter):
    """Prints a plain line for each trial that ends, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = _Tally()

    def stage(self, message: str) -> None:
        """Print a stage of the launch."""
        self._console.print(message, highlight=False)

    def search_begins(self, *, wanted: int, ended: int, epochs: int, workers: int) -> None:
        """Take up the count."""
        self._tally = _Tally(wanted=wanted, ended=ended, epochs=epochs, workers=workers)

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        """Print an epoch of a teacher."""
        self.stage(f"teacher {job.key}: epoch {epoch}, {_scores(metrics)}")

    def trial_started(self, ask: TrialRequest) -> None:
        """Print the values a trial has."""
        again = "" if ask.attempt == 1 else f" (continued, attempt {ask.attempt})"
        values = ", ".join(f"{k}={_short(v)}" for k, v in ask.values.items())
        self.stage(f"trial {ask.number}{again}: {values}")

    def trial_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep the metrics for later; a line for each epoch would hide the rest."""
        self._tally.running[number] = (epoch, metrics)
        self._tally.improve(number, metrics)

    def trial_ended(self, number: int, state: str, reason: str | None) -> None:
        """Print the outcome, the best so far and the time left."""
        tally = self._tally
        epoch, metrics = tally.running.pop(number, (0, {}))
        tally.ended += 1
        tally.ended_here += 1
        outcome = f"{state} after epoch {epoch}, {_scores(metrics)}"
        why = f" ({reason})" if reason else ""
        self.stage(
            f"trial {number}: {outcome}{why} | {tally.ended}/{tally.wanted} trials, "
            f"{tally.best_text()}, {tally.time_left()}"
        )


class LiveTable(Lines):
    """A table of what runs, redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def trial_started(self, ask: TrialRequest) -> None:
        """Show the trial as running."""
        self._tally.running[ask.number] = (0, {})
        self._live.update(self._draw())

    def trial_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show the trial's epoch and scores."""
        super().trial_epoch(number, epoch, metrics)
        self._live.update(self._draw())

    def trial_ended(self, number: int, state: str, reason: str | None) -> None:
        """Print the outcome above the table and redraw it."""
        super().trial_ended(number, state, reason)
        self._live.update(self._draw())

    def _draw(self) -> Group:
        tally = self._tally
        bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
        )
        bar.add_task(tally.time_left(), total=tally.wanted, completed=tally.ended)
        table = Table(title=tally.best_text(), title_justify="left", box=None)
        for column in ("running trial", "epoch", "ID mIoU", "OOD mIoU", "loss"):
            table.add_column(column, justify="right")
        for number, (epoch, metrics) in sorted(tally.running.items()):
            cells = [metrics.get(k) for k in ("val_id/miou", "val_ood/miou", "train/loss")]
            shown = [f"{c:.2f}" if c is not None else "" for c in cells]
            table.add_row(str(number), f"{epoch}/{tally.epochs}", *shown)
        return Group(table, bar)


def reporter(console: Console) -> Lines:
    """Return the live table on a terminal, plain lines elsewhere."""
    return LiveTable(console) if console.is_terminal else Lines(console)


def _scores(metrics: Mapping[str, float]) -> str:
    id_miou, ood_miou = metrics.get("val_id/miou"), metrics.get("val_ood/miou")
    if id_miou is None or ood_miou is None:
        return "no scores"
    return f"ID mIoU {id_miou:.2f}, OOD mIoU {ood_miou:.2f}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
