"""Every trial between ID and OOD, with the front, both teachers and the bias floors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tune.display.plot import ID, OOD
from tune.report.figure import (
    COLORS,
    Panel,
    Section,
    Table,
    aliases_of,
    chart,
    hover,
    plural,
    score,
    short_name,
    shown,
)
from tune.study.snapshot import StudySnapshot
from tune.study.summary import TrialSummary
from tune.study.view import TrialView

_MARKS = {
    "PRUNED": ("triangle-down", 0.6, "pruned, at its last epoch"),
    "RUNNING": ("square", 0.8, "running, at its last epoch"),
    "COMPLETE": ("circle", 1.0, "complete"),
}


def front(study: StudySnapshot) -> Section:
    """Return the scatter of validation mIoU with all trials in its table."""
    key, title = "front", "What was tried"
    table = Table(heads=_heads(study), rows=[_row(study, view) for view in study.trials])
    if not any(_point(v) for v in study.trials):
        text = "No trial has an epoch yet, so there is nothing to draw."
        return Section(key=key, title=title, text=text, tables=[table] if table.rows else [])
    text = _text(study)
    whole = _scatter(study, tuple(_MARKS))
    _add_floors(whole, study)
    _leave_room(whole)
    label = f"Scatter of ID against OOD mIoU. {text}"
    panels = [Panel(name="front", label=label, plot=whole)]
    if study.count("COMPLETE") > 1 and len(study.trials) > study.count("COMPLETE"):
        close = _scatter(study, ("COMPLETE",))
        _leave_room(close)
        label = "The same, the complete trials and the teachers alone."
        panels.append(Panel(name="front-close", label=label, plot=close))
        text += " Beside it the complete trials alone."
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _scatter(study: StudySnapshot, states: Sequence[str]) -> Any:
    """Return trials in some states, with front, champions and teachers."""
    traces = [*_trials(study, states), *_front_line(study), *_rings(study), *_teachers(study)]
    plot = chart(traces, height=440, x="ID validation mIoU (%)", y="OOD validation mIoU (%)")
    _name_champions(plot, study)
    return plot


def _point(view: TrialView) -> tuple[float, float] | None:
    """Return ID and OOD mIoU of what a trial has, None where it has neither."""
    metrics = view.kept
    return (metrics[ID], metrics[OOD]) if ID in metrics and OOD in metrics else None


def _trials(study: StudySnapshot, states: Sequence[str]) -> list[Any]:
    import plotly.graph_objects as go

    traces = []
    for state in states:
        symbol, opacity, name = _MARKS[state]
        held = [(v, p) for v in study.trials if v.state == state and (p := _point(v))]
        if held:
            scores = [_scores(p) for _, p in held]
            traces.append(
                go.Scatter(
                    x=[p[0] for _, p in held],
                    y=[p[1] for _, p in held],
                    mode="markers",
                    name=name,
                    marker={"symbol": symbol, "size": 10, "color": COLORS[state]},
                    opacity=opacity,
                    hovertext=[hover(v, s) for (v, _), s in zip(held, scores, strict=True)],
                    hoverinfo="text",
                )
            )
    return traces


def _scores(point: Sequence[float]) -> str:
    return f"ID mIoU {point[0]:.2f}, OOD mIoU {point[1]:.2f}"


def _front_line(study: StudySnapshot) -> list[Any]:
    import plotly.graph_objects as go

    trials = [study.summary.trial(number) for number in study.summary.front]
    points = sorted((t.metrics[ID], t.metrics[OOD]) for t in trials if OOD in t.metrics)
    if len(points) < 2:
        return []
    return [
        go.Scatter(
            x=[p[0] for p in points],
            y=[p[1] for p in points],
            mode="lines",
            name="front",
            line={"shape": "vh", "color": COLORS["COMPLETE"], "dash": "dot"},
            hoverinfo="skip",
        )
    ]


def _placed_champions(study: StudySnapshot) -> dict[int, tuple[float, float]]:
    """Return where the search had each champion, finalists included."""
    champions = set(study.champions.values())
    return {v.number: p for v in study.trials if v.number in champions and (p := _point(v))}


def _rings(study: StudySnapshot) -> list[Any]:
    import plotly.graph_objects as go

    placed = _placed_champions(study)
    if not placed:
        return []
    return [
        go.Scatter(
            x=[p[0] for p in placed.values()],
            y=[p[1] for p in placed.values()],
            mode="markers",
            name="champion",
            marker={
                "symbol": "circle-open",
                "size": 17,
                "color": COLORS["champion"],
                "line": {"width": 3},
            },
            hoverinfo="skip",
        )
    ]


def _name_champions(plot: Any, study: StudySnapshot) -> None:
    """Name the champions: above the cloud, and whoever is best in distribution alone below it."""
    names = aliases_of(study.champions)
    for place, (number, point) in enumerate(_placed_champions(study).items()):
        below = names[number] == "best-id"
        plot.add_annotation(
            x=point[0],
            y=point[1],
            text=f"{names[number].replace(', ', '<br>')} ({number})",
            ax=-14 - 8 * place,
            ay=58 if below else -26,
            xanchor="right",
            yanchor="top" if below else "bottom",
            arrowhead=0,
            arrowwidth=1,
            standoff=9,
        )


def _teachers(study: StudySnapshot) -> list[Any]:
    import plotly.graph_objects as go

    traces = []
    for role, metrics in study.summary.teachers.items():
        if ID in metrics and OOD in metrics:
            point = (metrics[ID], metrics[OOD])
            traces.append(
                go.Scatter(
                    x=[point[0]],
                    y=[point[1]],
                    mode="markers",
                    name=f"{role.upper()} teacher",
                    marker={"symbol": "star", "size": 15, "color": COLORS.get(role)},
                    hovertext=[f"{role.upper()} teacher<br>{_scores(point)}"],
                    hoverinfo="text",
                )
            )
    return traces


def best_floors(study: StudySnapshot) -> dict[str, tuple[str, float]]:
    """Return name and mIoU of the best predictor that looks at no video, by role."""
    found = {}
    for role, systems in study.summary.intervals.items():
        floors = systems.get("floors", {})
        if floors:
            name = max(floors, key=lambda n: floors[n]["miou"])
            found[role] = (name, float(floors[name]["miou"]))
    return found


def _add_floors(plot: Any, study: StudySnapshot) -> None:
    line = {"color": COLORS["floor"], "dash": "dash", "width": 1.5}
    floors = best_floors(study)
    if "val_id" in floors:
        plot.add_vline(
            x=floors["val_id"][1],
            line=line,
            annotation={"text": "ID floor", "yanchor": "top", "xanchor": "left"},
        )
    if "val_ood" in floors:
        plot.add_hline(
            y=floors["val_ood"][1],
            line=line,
            annotation={"text": "OOD floor", "yanchor": "bottom"},
        )


def _leave_room(plot: Any) -> None:
    """Leave room above the highest trial for the names of the champions."""
    heights = [y for trace in plot.data for y in trace.y]
    heights += [shape.y0 for shape in plot.layout.shapes if shape.yref == "y"]
    low, high = min(heights), max(heights)
    span = max(high - low, 1.0)
    plot.update_yaxes(range=[low - 0.05 * span, high + 0.22 * span])


def _text(study: StudySnapshot) -> str:
    counts = [
        plural(study.count(state), f"{state.lower()} trial").replace("fail trial", "failed trial")
        for state in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")
        if study.count(state)
    ]
    sentence = f"{', '.join(counts)} of {study.summary.wanted} wanted."
    if study.summary.front:
        sentence += (
            f" The front holds {plural(len(study.summary.front), 'trial')} that no other beats in "
            "every objective."
        )
    if not study.count("COMPLETE"):
        sentence += " No trial is complete, so there is no front."
    floors = [
        f"{role.removeprefix('val_').upper()} {value:.2f} ({name})"
        for role, (name, value) in best_floors(study).items()
    ]
    if floors:
        sentence += f" Dashed: the best predictor that looks at no video, {', '.join(floors)}."
    return sentence


def _heads(study: StudySnapshot) -> list[str]:
    names = list(study.file.space)
    return ["trial", "", "state", "epoch", "ID mIoU", "OOD mIoU", *map(short_name, names)]


def _row(study: StudySnapshot, view: TrialView) -> list[str]:
    summary: TrialSummary = study.summary.trial(view.number)
    marks = aliases_of(study.champions).get(view.number, "")
    if not marks and view.number in study.summary.front:
        marks = "front"
    state = view.state if view.reason is None else f"{view.state}: {view.reason}"
    values = [shown(view.values.get(name, "")) for name in study.file.space]
    scores = [score(summary.metrics, ID), score(summary.metrics, OOD)]
    return [str(view.number), marks, state, str(view.epoch), *scores, *values]
