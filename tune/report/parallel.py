"""Parallel coordinates of the complete trials: all values and all objectives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tune.report.figure import (
    COLORS,
    Panel,
    Section,
    Table,
    chart,
    gapped,
    hover,
    metric_name,
    plural,
    short_name,
    shown,
    too_few,
)
from tune.study.snapshot import StudySnapshot
from tune.study.view import TrialView, current


def parallel(study: StudySnapshot) -> Section:
    """Return a line a complete trial through all its values and objectives.

    Drawn in plain lines rather than by Optuna, whose plot holds one objective, has no hover and
    needs WebGL.
    """
    key, title = "parallel", "Values side by side"
    held = [v for v in current(study.trials) if v.objectives]
    if len(held) < 2:
        return Section(key=key, title=title, text=too_few(len(held), 2))
    axes = _axes(study, held)
    text = (
        f"Each line is one of {plural(len(held), 'complete trial')}; every axis runs from its "
        "lowest to its highest value, the objectives stand last. Green: the champions."
    )
    chosen = set(study.champions.values())
    groups = [("COMPLETE", [v for v in held if v.number not in chosen])]
    groups.append(("champion", [v for v in held if v.number in chosen]))
    traces = [_parallel_trace(name, views, axes) for name, views in groups if views]
    plot = chart(traces, height=420)
    ticks = [f"{a.name}<br>{shown(a.low)}…{shown(a.high)}" for a in axes]
    plot.update_xaxes(tickvals=list(range(len(axes))), ticktext=ticks, gridwidth=2)
    plot.update_yaxes(visible=False, range=[-0.05, 1.05])
    table = Table(
        heads=["trial", *(a.name for a in axes)],
        rows=[[str(v.number), *(shown(a.value(v)) for a in axes)] for v in held],
    )
    panel = Panel(name="parallel", label=f"Parallel coordinates. {text}", plot=plot)
    return Section(key=key, title=title, text=text, panels=[panel], tables=[table])


class _Axis:
    """One vertical line of the parallel coordinates."""

    def __init__(
        self, name: str, value: Callable[[TrialView], Any], held: Sequence[TrialView], *, log: bool
    ) -> None:
        self.name, self.value, self._log = name, value, log
        known = [x for v in held if (x := value(v)) is not None]
        numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in known)
        self._order = None if numbers else sorted({str(x) for x in known})
        self.low: Any = min(known) if numbers else (self._order or [""])[0]
        self.high: Any = max(known) if numbers else (self._order or [""])[-1]

    def place(self, view: TrialView) -> float | None:
        """Return where a trial's line crosses, from 0 to 1; None where it has no value."""
        x = self.value(view)
        if x is None:
            return None
        if self._order is not None:
            return self._order.index(str(x)) / max(1, len(self._order) - 1)
        low, high, at = (math.log(n) if self._log else n for n in (self.low, self.high, x))
        return 0.5 if high == low else float((at - low) / (high - low))


def _axes(study: StudySnapshot, held: Sequence[TrialView]) -> list[_Axis]:
    axes = [
        _Axis(short_name(name), _value_of(name), held, log=dimension.log)
        for name, dimension in study.file.space.items()
        if any(name in v.values for v in held)
    ]
    return axes + [
        _Axis(metric_name(metric), _objective_of(column), held, log=False)
        for column, metric in enumerate(study.objectives)
    ]


def _value_of(name: str) -> Callable[[TrialView], Any]:
    return lambda view: view.values.get(name)


def _objective_of(column: int) -> Callable[[TrialView], Any]:
    return lambda view: (view.objectives or [])[column]


def _parallel_trace(group: str, views: Sequence[TrialView], axes: Sequence[_Axis]) -> Any:
    import plotly.graph_objects as go

    steps = list(range(len(axes)))
    return go.Scatter(
        x=gapped([steps for _ in views]),
        y=gapped([[axis.place(v) for axis in axes] for v in views]),
        mode="lines+markers",
        name=group.lower(),
        opacity=1.0 if group == "champion" else 0.55,
        line={"color": COLORS[group], "width": 3 if group == "champion" else 1.5},
        marker={"size": 5},
        hovertext=gapped([[_crossing(v, axis) for axis in axes] for v in views]),
        hoverinfo="text",
    )


def _crossing(view: TrialView, axis: _Axis) -> str:
    return hover(view, f"{axis.name}: {shown(axis.value(view))}")
