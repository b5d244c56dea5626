"""What a terminal shows while a search runs: a live table, or plain lines where it is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tune.execution.jobs import JobListener, TrainingJob
from tune.study.request import TrialRequest


class Reporter(JobListener):
    """What a launch reports of teachers and trials to a person; nothing unless overridden."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the display."""

    def stage(self, message: str) -> None:
        """Report a stage of the launch."""

    def search_begins(self, *, wanted: int, ended: int, epochs: int) -> None:
        """Report how many trials there are to be, of how many epochs, and how many have ended."""

    def trial_started(self, ask: TrialRequest) -> None:
        """Report a trial and its values."""

    def trial_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report an epoch of a trial."""

    def trial_ended(self, number: int, state: str, reason: str | None) -> None:
        """Report the outcome of a trial."""

    def epochs(self, count: Callable[[], tuple[int, float]]) -> None:
        """Report an epoch of any trial; `count` returns how many there were, and will be."""


class Lines(Reporter):
    """Prints a plain line for each trial that ends, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._wanted = self._ended = self._epochs = 0
        self._done, self._whole, self._done_before = 0, 0.0, -1
        """Epochs of all trials: so far, about how many in the end, and when this launch began."""
        self._count_at = 0.0
        self._running: dict[int, tuple[int, Mapping[str, float]]] = {}
        """Last epoch and its metrics by trial."""
        self._best: dict[str, tuple[float, int]] = {}
        """Highest value and its trial by metric."""
        self._begun = time.monotonic()

    def stage(self, message: str) -> None:
        """Print a stage of the launch."""
        self._console.print(message, highlight=False)

    def search_begins(self, *, wanted: int, ended: int, epochs: int) -> None:
        """Begin to count, and to measure the time that an epoch takes."""
        self._wanted, self._ended, self._epochs = wanted, ended, epochs
        self._begun = time.monotonic()

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        """Print an epoch of a teacher."""
        self.stage(f"teacher {job.key}: epoch {epoch}, {scores_text(metrics)}")

    def trial_started(self, ask: TrialRequest) -> None:
        """Print the values a trial has."""
        again = "" if ask.attempt == 1 else f" (continued, attempt {ask.attempt})"
        values = ", ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in ask.values.items()
        )
        self.stage(f"trial {ask.number}{again}: {values}")

    def trial_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep the metrics for later; a line for each epoch would hide the rest."""
        self._running[number] = (epoch, metrics)
        for name in ("val_id/miou", "val_ood/miou"):
            if name in metrics:
                found = (metrics[name], number)
                self._best[name] = max(self._best.get(name, found), found)

    def trial_ended(self, number: int, state: str, reason: str | None) -> None:
        """Print the outcome, the best so far and the time left."""
        epoch, metrics = self._running.pop(number, (0, {}))
        self._ended += 1
        outcome = f"{state} after epoch {epoch}, {scores_text(metrics)}"
        why = f" ({reason})" if reason else ""
        self.stage(
            f"trial {number}: {outcome}{why} | {self._ended}/{self._wanted} trials, "
            f"{self._best_text()}, {self._time_left()}"
        )

    def epochs(self, count: Callable[[], tuple[int, float]]) -> None:
        """Count for the bar and the time left, once a second: that reads all trials."""
        now = time.monotonic()
        if now < self._count_at:
            return
        self._count_at = now + 1.0
        self._done, self._whole = count()
        if self._done_before < 0:
            self._done_before = self._done - 1

    def _time_left(self) -> str:
        """Extrapolate from the epochs of this launch."""
        here = self._done - self._done_before
        if self._done_before < 0 or here < 1:
            return "time left: unknown yet"
        an_epoch = (time.monotonic() - self._begun) / here
        minutes, seconds = divmod(round(an_epoch * max(0.0, self._whole - self._done)), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
        return f"about {left} left"

    def _best_text(self) -> str:
        texts = [f"{k.split('/')[0]} {v:.2f} (trial {n})" for k, (v, n) in self._best.items()]
        return "best mIoU of any epoch: " + (", ".join(texts) or "none yet")


class LiveTable(Lines):
    """A table of the trials that run, redrawn in place, below the lines of those that ended."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def trial_started(self, ask: TrialRequest) -> None:
        """Show the trial as running."""
        self._running[ask.number] = (0, {})

    def _draw(self) -> Group:
        if not self._wanted:  # teachers are trained first
            return Group()
        left = TextColumn("{task.description}")
        bar = Progress(TextColumn("epochs"), BarColumn(), MofNCompleteColumn(), left)
        ended = f"{self._ended}/{self._wanted} trials, {self._time_left()}"
        bar.add_task(ended, total=round(self._whole) or None, completed=self._done)
        table = Table(title=self._best_text(), title_justify="left", box=None)
        for column in ("running trial", "epoch", "ID mIoU", "OOD mIoU", "loss"):
            table.add_column(column, justify="right")
        for number, (epoch, metrics) in sorted(self._running.copy().items()):
            cells = [metrics.get(k) for k in ("val_id/miou", "val_ood/miou", "train/loss")]
            shown = [f"{c:.2f}" if c is not None else "" for c in cells]
            table.add_row(str(number), f"{epoch}/{self._epochs}", *shown)
        return Group(table, bar)


def scores_text(metrics: Mapping[str, float]) -> str:
    """Return both validation scores in words.

    >>> scores_text({"val_id/miou": 40.0, "val_ood/miou": 30.0})
    'ID mIoU 40.00, OOD mIoU 30.00'
    """
    id_miou, ood_miou = metrics.get("val_id/miou"), metrics.get("val_ood/miou")
    if id_miou is None or ood_miou is None:
        return "no scores"
    return f"ID mIoU {id_miou:.2f}, OOD mIoU {ood_miou:.2f}"
