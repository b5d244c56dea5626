"""Tables of a study and of its teachers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console
from rich.table import Table

from refkd.evaluation.comparison import MEANING, Figure
from tune.config.keys import put
from tune.display.console import (
    SCORES,
    aliases_of,
    make_table,
    metric_name,
    say,
    say_caveats,
    score,
    states,
    trial_columns,
)
from tune.results.probe_rows import MEANING as PROBES_MEANING
from tune.results.probe_rows import PROBE_HEADS, probe_row
from tune.study.locate import locate
from tune.study.summary import Summary, TrialSummary, standing_words

if TYPE_CHECKING:
    from tune.teach import Checked, Taught, Tuned

_STYLES = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red", "RUNNING": "cyan"}


def show_status(console: Console, summary: Summary) -> None:
    """Print a row a trial."""
    if not summary.trials:
        console.print(f"study {summary.study}: no trials yet")
        return
    title = f"study {summary.study}: {summary.ended} of {summary.wanted} trials ended"
    title += f"; {summary.stopped}" if summary.stopped else ""
    columns = trial_columns(summary.objectives)
    front = [number for first in summary.front for number in summary.trial(first).members]
    notes = dict.fromkeys(front, "*")
    console.print(_trial_table(title, summary.trials, notes, columns))
    for trial in summary.trials:
        if trial.reason:
            failed, style = (" failed", "red") if trial.state == "FAIL" else ("", "yellow")
            again = "" if trial.retried_as is None else f" (retried as {trial.retried_as})"
            text = f"trial {trial.number}{failed}: {trial.reason}{again}"
            console.print(text, style=style, markup=False)
        if trial.retries is not None:
            console.print(f"trial {trial.number} retries {trial.retries}", highlight=False)
    for point in summary.pooled:
        scores = ", ".join(f"{h} {score(point.metrics, metric)}" for metric, h in columns.items())
        say(console, f"{point.seeds_text}, one point with the means {scores}")
    if summary.front:
        console.print("* on the Pareto front")
    say_caveats(console, [*summary.marks, *map(str, summary.health)])
    _say_selected(console, summary)


def show_best(console: Console, summary: Summary) -> None:
    """Print the front, the champions with intervals, teachers and bias floors."""
    if not summary.front:
        console.print(f"study {summary.study}: no complete trial yet, so there is no front")
        return
    front = [summary.trial(number) for number in summary.front]
    less = ", ".join(map(metric_name, summary.minimize))
    but = f"; of {less} less is better" if less else ""
    title = f"Pareto front (validation, higher is better{but})"
    columns = trial_columns(summary.objectives)
    console.print(_trial_table(title, front, aliases_of(summary.champions), columns))
    for trial in front:
        console.print(f"  {_name(trial):>4}  {_values(trial)}", markup=False, highlight=False)
    for trial in summary.pooled:
        say(console, trial.seeds_text)
    _say_selected(console, summary)
    names = {n: f"{n} (trial {number})" for n, number in summary.champions.items()}
    if summary.intervals:
        console.print()
        _show_intervals(console, summary.intervals, names)
    for alias, standing in summary.standings.items():
        say(console, standing_words(alias, standing))
    if summary.probes:
        console.print()
        console.print(probe_table({names.get(n, n): p for n, p in summary.probes.items()}))
    say_caveats(console, summary.marks)


def show_end(console: Console, summary: Summary, study: Path) -> None:
    """Print what a finished search found, what it cost, and what to do next."""
    show_best(console, summary)
    console.print()
    cost = summary.cost
    rows = {
        "trials": states(cost.trials),
        "student epochs": f"{cost.epochs} run, {cost.epochs_saved} saved by pruning",
        "CPU seconds": f"{cost.cpu_seconds:.0f} students, {cost.teacher_cpu_seconds:.0f} teachers",
    }
    console.print(make_table("What it cost", ("", ""), rows.items(), show_header=False))
    place = locate(study)
    console.print("\nWhere it lies", style="bold")
    say(console, f"  study      {place.storage}")
    say(console, f"  trials     {place.folder / 'trials'}")
    say(console, f"  champions  {place.folder / 'champions'}")
    say(console, f"  MLflow     {place.tracking}")
    console.print("\nNext", style="bold")
    failed = any(trial.state == "FAIL" and trial.retried_as is None for trial in summary.trials)
    for command in ("ui", "report", "status", *(["retry"] if failed else [])):
        say(console, f"  refkd {command} {study}")
    say(
        console,
        "  refkd data prepare charades-cd --annotations DIR --features FILE --words FILE "
        "--missing-features skip --out datasets/charades-cd-clip",
    )
    say(console, "  refkd search studies/charades-cd-clip.yaml")


def show_taught(console: Console, taught: Mapping[str, Taught]) -> None:
    """Print a row a teacher."""
    heads = ("teacher", "recipe", "backbone", "epoch", *SCORES.values())
    rows = []
    for role, one in taught.items():
        scores = (score(one.metrics, metric) for metric in SCORES)
        rows.append([role, one.recipe, one.backbone, str(one.epoch or ""), *scores])
    console.print(make_table("Teachers (validation)", heads, rows))
    for one in taught.values():
        say(console, f"  {one.folder}")


def show_checked(console: Console, checked: Checked) -> None:
    """Print what a file of answers is, and what it scores."""
    heads = ("answers", *checked.pairs, *SCORES.values())
    cells = [f"{number:,}" for number in checked.pairs.values()]
    row = [checked.kind, *cells, *(score(checked.metrics, metric) for metric in SCORES)]
    console.print(make_table("Answers to every pair (validation)", heads, [row]))
    say(console, f"  {checked.file}: sha256 {checked.sha256}")
    say(console, f"  to make it a teacher: teachers: {{ood: {{from: {checked.file}}}}}")


def show_tuned(console: Console, tuned: Tuned) -> None:
    """Print the best teacher, and the lines that make it the study's."""
    console.print(
        f"{tuned.study}: {tuned.trials} teachers, {tuned.failed} failed", highlight=False
    )
    show_taught(console, {tuned.role: tuned.best})
    settings: dict[str, Any] = {}
    for name, value in sorted(tuned.values.items()):
        put(settings, name, value)
    if "recipe" in settings:
        settings["recipe"] = tuned.recipe
    text = yaml.safe_dump({"teachers": {tuned.role: settings}}, sort_keys=False)
    console.print("To make it the study's, write into the study file:")
    console.print(text, markup=False, highlight=False)


def probe_table(probes: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a row a system of its dumped `refkd.evaluation.probes.Probes`, by name."""
    rows = ([name, *probe_row(found)] for name, found in probes.items())
    heads = ("system", *PROBE_HEADS)
    table = make_table("Bias probes, mIoU", heads, rows, caption=PROBES_MEANING)
    table.columns[0].no_wrap = True
    return table


def _say_selected(console: Console, summary: Summary) -> None:
    """Print the champions among the finalists, and whether trials have ended since."""
    selected = summary.crowned
    if selected is None:
        return
    chosen = ", ".join(f"{a} trial {n}" for a, n in sorted(selected.champions.items()))
    console.print(f"finalists chose on fresh seeds: {chosen}", highlight=False)
    if summary.outgrown:
        say(
            console,
            f"the finalists are out of date: {selected.trials} trials had ended when they "
            f"were chosen, now {summary.ended}; run `refkd finalists` again",
            "yellow",
        )


def _trial_table(
    title: str,
    trials: list[TrialSummary],
    notes: Mapping[int, str],
    columns: Mapping[str, str],
) -> Table:
    rows = []
    for trial in trials:
        style = _STYLES.get(trial.state)
        state = f"[{style}]{trial.state}[/]" if style else trial.state
        scores = (score(trial.metrics, metric) for metric in columns)
        note = notes.get(trial.number, "")
        rows.append([_name(trial), note, state, str(trial.epoch), *scores])
    return make_table(title, ("trial", "", "state", "epoch", *columns.values()), rows)


def _show_intervals(
    console: Console, intervals: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]
) -> None:
    columns = [metric.split("/") for metric in SCORES]
    table = make_table("Validation with 95 % intervals", ("system", *SCORES.values()))
    for name in (name for name in intervals["val_id"] if name != "floors"):
        held = (Figure.model_validate(intervals[role][name][m]) for role, m in columns)
        table.add_row(names.get(name, name), *(figure.text() for figure in held))
    console.print(table)
    say(console, f"{MEANING}\n")
    title = "Bias floors: no look at any video, fitted on fit"
    table = make_table(title, ("predictor", *SCORES.values()))
    for name in intervals["val_id"]["floors"]:
        scores = (intervals[role]["floors"][name][m] for role, m in columns)
        table.add_row(name, *(f"{one:.2f}" for one in scores))
    console.print(table)


def _name(trial: TrialSummary) -> str:
    return ", ".join(map(str, trial.members))


def _values(trial: TrialSummary) -> str:
    shown = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in trial.values.items()}
    return "  ".join(f"{key.partition('.')[2]}={value}" for key, value in shown.items())
