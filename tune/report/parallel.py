"""The values of the trials side by side, as parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tune.display.console import metric_name, plural
from tune.report import draw
from tune.report.figure import Panel, Section, Table, short_name, shown, too_few
from tune.study.ranking import current
from tune.study.snapshot import StudySnapshot
from tune.study.view import TrialView


def parallel(study: StudySnapshot) -> Section:
    """Return a line a complete trial through all its values and objectives.

    Drawn in plain lines rather than by Optuna, whose plot holds one objective, has no hover and
    needs WebGL.
    """
    key, title = "parallel", "Values side by side"
    held = [v for v in current(study.trials) if v.objectives]
    if len(held) < 2:
        return Section(key=key, title=title, text=too_few(len(held), 2))
    text = (
        f"Each line is one of {plural(len(held), 'complete trial')}; every axis runs from its "
        "lowest to its highest value, the objectives stand last. Green: the champions."
    )
    axes = _axes(study, held)
    crossings: dict[str, list[list[Any]]] = {"COMPLETE": [], "champion": []}
    for row, v in enumerate(held):
        group = "champion" if v.number in study.champions.values() else "COMPLETE"
        texts = [draw.hover(v, f"{axis.name}: {shown(axis.values[row])}") for axis in axes]
        heights = [axis.places[row] for axis in axes]
        crossings[group].append(list(zip(range(len(axes)), heights, texts, strict=True)))
    traces = []
    for group, opacity, width in (("COMPLETE", 0.55, 1.5), ("champion", 1.0, 3)):
        form: dict[str, Any] = {"mode": "lines+markers", "marker": {"size": 5}}
        form |= {"opacity": opacity, "line": {"color": draw.COLORS[group], "width": width}}
        traces.append(draw.scatter(draw.joined(crossings[group]), group.lower(), **form))
    plot = draw.chart(traces, height=420)
    labels = [axis.label for axis in axes]
    plot.update_xaxes(tickvals=list(range(len(axes))), ticktext=labels, gridwidth=2)
    plot.update_yaxes(visible=False, range=[-0.05, 1.05])
    table = Table(
        heads=["trial", *(axis.name for axis in axes)],
        rows=[
            [v.numbers, *(shown(axis.values[row]) for axis in axes)] for row, v in enumerate(held)
        ],
    )
    panel = Panel(name="parallel", label=f"Parallel coordinates. {text}", plot=plot)
    return Section(key=key, title=title, text=text, panels=[panel], tables=[table])


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One vertical line of the parallel coordinates."""

    name: str
    label: str
    values: Sequence[Any]
    """Of each trial; None where it has none."""
    places: Sequence[float | None]
    """Where its line crosses, from 0 to 1."""


def _axes(study: StudySnapshot, held: Sequence[TrialView]) -> list[_Axis]:
    axes = []
    for name, dimension in study.file.space.items():
        values = [v.values.get(name) for v in held]
        if any(value is not None for value in values):
            axes.append(_axis(short_name(name), values, log=dimension.log))
    for column, metric in enumerate(study.objectives):
        axes.append(_axis(metric_name(metric), [(v.objectives or [])[column] for v in held]))
    return axes


def _axis(name: str, values: Sequence[Any], *, log: bool = False) -> _Axis:
    known = [x for x in values if x is not None]
    numbers: list[float | None]
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in known):
        known = sorted({str(x) for x in known})
        numbers = [None if x is None else known.index(str(x)) for x in values]
    else:
        numbers = [None if x is None else math.log(x) if log else x for x in values]
    ends = [n for n in numbers if n is not None]
    low, span = min(ends), max(ends) - min(ends)
    return _Axis(
        name=name,
        label=f"{name}<br>{shown(min(known))}…{shown(max(known))}",
        values=values,
        places=[None if n is None else (n - low) / span if span else 0.5 for n in numbers],
    )
