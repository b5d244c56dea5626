"""Every trial between two objectives, with the front, both teachers and the bias floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tune.display.comparison import best_floor
from tune.display.console import (
    ID,
    OOD,
    aliases_of,
    axes_of,
    axis_words,
    metric_name,
    plural,
    score,
)
from tune.execution.progress import scores_text
from tune.report import draw
from tune.report.figure import Panel, Section, Table, capitalised, short_name, shown
from tune.study.ranking import pooled
from tune.study.snapshot import StudySnapshot
from tune.study.view import FOREIGN, TrialView

Axes = tuple[str, str]
"""The metrics of the horizontal and of the vertical axis."""
_STYLES = {
    "PRUNED": ("triangle-down", 0.6, "pruned, at its last epoch"),
    "RUNNING": ("square", 0.8, "running, at its last epoch"),
    "COMPLETE": ("circle", 1.0, "complete"),
}


def front(study: StudySnapshot) -> Section:
    """Return the scatter of both objectives, else of both mIoUs, with all trials in its table."""
    key, title = "front", "What was tried"
    heads = ["trial", "", "state", "epoch", *map(metric_name, _scored(study))]
    heads += map(short_name, study.file.space)
    axes = axes_of(study.objectives)
    table = Table(heads=heads, rows=[_row(study, trial) for trial in pooled(study.trials)])
    if not any(_point(trial.kept, axes) for trial in study.trials):
        text = "No trial has an epoch yet, so there is nothing to draw."
        return Section(key=key, title=title, text=text, tables=[table] if table.rows else [])
    text = _text(study)
    whole = _plot(study, tuple(_STYLES), axes)
    _add_floors(whole, study, axes)
    _leave_room(whole)
    x, y = map(metric_name, axes)
    label = f"Scatter of {x} against {y}. {text}"
    panels = [Panel(name="front", label=label, plot=whole)]
    if study.count("COMPLETE") > 1 and len(study.trials) > study.count("COMPLETE"):
        close = _plot(study, ("COMPLETE",), axes)
        _leave_room(close)
        label = "The same, the complete trials and the teachers alone."
        panels.append(Panel(name="front-close", label=label, plot=close))
        text += " Beside it: the complete trials alone."
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _scored(study: StudySnapshot) -> list[str]:
    """Return the metrics that the table shows."""
    return list(dict.fromkeys((ID, OOD, *study.objectives)))


def _point(metrics: Mapping[str, float], axes: Axes) -> tuple[float, float] | None:
    x, y = axes
    return (metrics[x], metrics[y]) if x in metrics and y in metrics else None


def _plot(study: StudySnapshot, states: Sequence[str], axes: Axes) -> Any:
    traces = []
    points = [(v, p) for v in pooled(study.trials) if (p := _point(v.kept, axes))]
    for state in states:
        symbol, opacity, name = _STYLES[state]
        held = [(*p, draw.hover(v, scores_text(v.kept))) for v, p in points if v.state == state]
        marker: dict[str, Any] = {"symbol": symbol, "size": 10, "color": draw.COLORS[state]}
        traces.append(draw.scatter(held, name, mode="markers", marker=marker, opacity=opacity))
    by_number = {v.number: p for v, p in points}
    line = sorted(by_number[number] for number in study.summary.front if number in by_number)
    if len(line) > 1:
        shape = "hv" if axes[0] in study.summary.minimize else "vh"
        style = {"shape": shape, "color": draw.COLORS["COMPLETE"], "dash": "dot"}
        traces.append(draw.scatter(line, "front", mode="lines", line=style, hoverinfo="skip"))
    names = aliases_of(study.champions)
    # Of finalists too: where the search had them.
    champions = {number: p for number, p in by_number.items() if number in names}
    marker = {"symbol": "circle-open", "size": 17, "color": draw.COLORS["champion"]}
    rings = {"mode": "markers", "marker": marker | {"line": {"width": 3}}, "hoverinfo": "skip"}
    traces.append(draw.scatter(champions.values(), "champion", **rings))
    for role, metrics in study.summary.teachers.items():
        if p := _point(metrics, axes):
            name = f"{role.upper()} teacher"
            marker = {"symbol": "star", "size": 15, "color": draw.COLORS.get(role)}
            star = (*p, f"{name}<br>{scores_text(metrics)}")
            traces.append(draw.scatter([star], name, mode="markers", marker=marker))
    x, y = map(axis_words, axes)
    plot = draw.chart(traces, height=440, x=x, y=y)
    for place, (number, p) in enumerate(champions.items()):
        # Above the cloud, and the one that is best in distribution alone below.
        below = names[number] == "best-id"
        plot.add_annotation(
            x=p[0],
            y=p[1],
            text=f"{names[number].replace(', ', '<br>')} ({number})",
            ax=-14 - 8 * place,
            ay=58 if below else -26,
            xanchor="right",
            yanchor="top" if below else "bottom",
            arrowhead=0,
            arrowwidth=1,
            standoff=9,
        )
    return plot


def _floors(study: StudySnapshot) -> dict[str, tuple[str, float]]:
    """Return name and mIoU of the best predictor that looks at no video, by role."""
    found = {
        role: best_floor(held.get("floors")) for role, held in study.summary.intervals.items()
    }
    return {role: floor for role, floor in found.items() if floor}


def _add_floors(plot: Any, study: StudySnapshot, axes: Axes) -> None:
    line = {"color": draw.COLORS["floor"], "dash": "dash", "width": 1.5}
    if axes != (ID, OOD):
        return
    floors = _floors(study)
    if "val_id" in floors:
        note = {"text": "ID floor", "yanchor": "top", "xanchor": "left"}
        plot.add_vline(x=floors["val_id"][1], line=line, annotation=note)
    if "val_ood" in floors:
        note = {"text": "OOD floor", "yanchor": "bottom"}
        plot.add_hline(y=floors["val_ood"][1], line=line, annotation=note)


def _leave_room(plot: Any) -> None:
    """Leave it above the highest trial, for the names of the champions."""
    heights = [y for trace in plot.data for y in trace.y]
    heights += [shape.y0 for shape in plot.layout.shapes if shape.yref == "y"]
    plot.update_yaxes(range=draw.padded(heights, 0.05, 0.22))


def _text(study: StudySnapshot) -> str:
    counts = [
        plural(study.count(state), f"{state.lower()} trial").replace("fail trial", "failed trial")
        for state in ("COMPLETE", "PRUNED", "FAIL", "RUNNING", FOREIGN)
        if study.count(state)
    ]
    sentence = f"{', '.join(counts)} of {study.summary.wanted} wanted."
    if study.summary.front:
        sentence += (
            f" The front holds {plural(len(study.summary.front), 'trial')} that no other beats in "
            "every objective."
        )
    sentence += "".join(f" {capitalised(t.seeds_text)}." for t in study.summary.pooled)
    if not study.count("COMPLETE"):
        sentence += " No trial is complete, so there is no front."
    floors = [
        f"{role.removeprefix('val_').upper()} {value:.2f} ({name})"
        for role, (name, value) in _floors(study).items()
    ]
    if floors and axes_of(study.objectives) == (ID, OOD):
        sentence += f" Dashed: the best predictor that looks at no video, {', '.join(floors)}."
    return sentence


def _row(study: StudySnapshot, trial: TrialView) -> list[str]:
    on_front = "front" if trial.number in study.summary.front else ""
    note = aliases_of(study.champions).get(trial.number, on_front)
    state = trial.state if trial.reason is None else f"{trial.state}: {trial.reason}"
    values = [shown(trial.values.get(name, "")) for name in study.file.space]
    scores = [score(trial.kept, metric) for metric in _scored(study)]
    return [trial.numbers, note, state, str(trial.epoch), *scores, *values]
