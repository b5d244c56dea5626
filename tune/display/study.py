"""Tables of a study for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from refkd.evaluation.comparison import MEANING, Figure
from tune.config.urls import without_password
from tune.study.locate import locate
from tune.study.summary import Summary, TrialSummary

PLAIN_WIDTH = 124
"""Columns where the output is no terminal."""
SHOWN = ("val_id/miou", "val_ood/miou", "val_id/r1_iou0.5", "val_ood/r1_iou0.5")
_HEADS = ("ID mIoU", "OOD mIoU", "ID R1@0.5", "OOD R1@0.5")
_STYLES = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red", "RUNNING": "cyan"}


def make_console() -> Console:
    """Return the console of a command: as wide as the terminal, or as a file can bear."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def show_status(console: Console, summary: Summary) -> None:
    """Print a row a trial."""
    if not summary.trials:
        console.print(f"study {summary.study}: no trials yet")
        return
    title = f"study {summary.study}: {summary.ended} of {summary.wanted} trials ended"
    console.print(_trial_table(title, summary.trials, dict.fromkeys(summary.front, "*")))
    for trial in summary.trials:
        if trial.reason:
            console.print(
                f"trial {trial.number} failed: {trial.reason}", style="red", markup=False
            )
    if summary.front:
        console.print("* on the Pareto front")
    say_marks(console, summary.marks)
    _say_crowned(console, summary)


def show_best(console: Console, summary: Summary) -> None:
    """Print the front, the champions with intervals, teachers and bias floors."""
    if not summary.front:
        console.print(f"study {summary.study}: no complete trial yet, so there is no front")
        return
    marks: dict[int, str] = {}
    for alias, number in sorted(summary.champions.items()):
        marks[number] = f"{marks[number]}, {alias}" if number in marks else alias
    front = [summary.trial(number) for number in summary.front]
    console.print(_trial_table("Pareto front (validation, higher is better)", front, marks))
    for trial in front:
        console.print(f"  {trial.number:>4}  {_values(trial)}", markup=False, highlight=False)
    _say_crowned(console, summary)
    if summary.intervals:
        console.print()
        console.print(_interval_table(summary))
        console.print(f"{MEANING}\n", markup=False, highlight=False, soft_wrap=True)
        console.print(_floor_table(summary))
    if summary.probes:
        from tune.display.probes import probe_table

        console.print(probe_table(summary.probes, lambda name: _system(summary, name)))
    say_marks(console, summary.marks)


def show_end(console: Console, summary: Summary, study: Path) -> None:
    """Print what a finished search found, what it cost, and what to do next."""
    show_best(console, summary)
    console.print(_cost_table(summary))
    place = locate(study)
    storage, tracking = without_password(place.storage), without_password(place.tracking)
    _lines(
        console,
        "Where it lies",
        (
            f"study      {storage}",
            f"trials     {place.folder / 'trials'}",
            f"champions  {place.folder / 'champions'}",
            f"MLflow     {tracking}",
        ),
    )
    _lines(
        console,
        "Next",
        (
            f"refkd ui {study}",
            f"refkd report {study}",
            f"refkd status {study}",
            "refkd data prepare charades-cd --annotations DIR --features FILE --words FILE "
            "--missing-features skip --out datasets/charades-cd-clip",
            "refkd search studies/charades-cd-clip.yaml",
        ),
    )


def say_marks(console: Console, marks: Sequence[str]) -> None:
    """Print why results are not to be taken at their names."""
    for mark in marks:
        console.print(f"! {mark}", style="bold yellow", markup=False, highlight=False)


def _say_crowned(console: Console, summary: Summary) -> None:
    """Print whom the finalists' fresh seeds chose, and whether the study has grown since."""
    if summary.crowned is None:
        return
    chosen = ", ".join(f"{a} trial {n}" for a, n in sorted(summary.crowned.champions.items()))
    console.print(f"finalists chose on fresh seeds: {chosen}", highlight=False)
    if summary.outgrown:
        console.print(
            f"the finalists are out of date: {summary.crowned.trials} trials had ended when they "
            f"were chosen, now {summary.ended}; run `refkd finalists` again",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )


def _lines(console: Console, title: str, lines: tuple[str, ...]) -> None:
    console.print(f"\n{title}", style="bold")
    for line in lines:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _trial_table(title: str, trials: list[TrialSummary], marks: dict[int, str]) -> Table:
    table = _table(title, "trial", "", "state", "epoch", *_HEADS)
    for trial in trials:
        style = _STYLES.get(trial.state)
        state = f"[{style}]{trial.state}[/]" if style else trial.state
        scores = [f"{trial.metrics[m]:.2f}" if m in trial.metrics else "" for m in SHOWN]
        mark = marks.get(trial.number, "")
        table.add_row(str(trial.number), mark, state, str(trial.epoch), *scores)
    return table


def _interval_table(summary: Summary) -> Table:
    table = _table("Validation with 95 % intervals", "system", *_HEADS)
    by_id, by_ood = summary.intervals["val_id"], summary.intervals["val_ood"]
    for system in (name for name in by_id if name != "floors"):
        cells = [
            Figure.model_validate(by_role[system][metric]).text()
            for metric in ("miou", "r1_iou0.5")
            for by_role in (by_id, by_ood)
        ]
        table.add_row(_system(summary, system), *cells)
    return table


def _system(summary: Summary, name: str) -> str:
    trial = summary.champions.get(name)
    return name if trial is None else f"{name} (trial {trial})"


def _floor_table(summary: Summary) -> Table:
    table = _table("Bias floors: no look at any video, fitted on fit", "predictor", *_HEADS)
    by_id, by_ood = summary.intervals["val_id"]["floors"], summary.intervals["val_ood"]["floors"]
    for floor in by_id:
        cells = [
            f"{by_role[floor][metric]:.2f}"
            for metric in ("miou", "r1_iou0.5")
            for by_role in (by_id, by_ood)
        ]
        table.add_row(floor, *cells)
    return table


def _cost_table(summary: Summary) -> Table:
    cost = summary.cost
    table = _table("What it cost", "", "", head=False)
    states = ", ".join(f"{count} {state}" for state, count in sorted(cost.trials.items()))
    table.add_row("trials", states)
    table.add_row("student epochs", f"{cost.epochs} run, {cost.epochs_saved} saved by pruning")
    seconds = f"{cost.cpu_seconds:.0f} students, {cost.teacher_cpu_seconds:.0f} teachers"
    table.add_row("CPU seconds", seconds)
    return table


def _table(title: str, *heads: str, head: bool = True) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=head)
    for name in heads:
        right = name in _HEADS or name in ("trial", "epoch")
        table.add_column(name, justify="right" if right else "left")
    return table


def _values(trial: TrialSummary) -> str:
    return "  ".join(f"{k.partition('.')[2]}={_short(v)}" for k, v in trial.values.items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
