"""How the pictures of the report are built: colours, traces and charts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tune.report.figure import short_name, shown
from tune.study.view import TrialView

COLORS = {
    "COMPLETE": "#2f80b7",
    "PRUNED": "#c2922b",
    "RUNNING": "#7f8aa0",
    "champion": "#1f9d6b",
    "id": "#d1495b",
    "ood": "#8a63d2",
    "floor": "#8c8c8c",
}
"""Each stands out from white and from near black."""


def hover(view: TrialView, *lines: str) -> str:
    """Return the hover text of a trial: its state, some lines, its values."""
    values = [f"{short_name(key)} {shown(value)}" for key, value in view.values.items()]
    who = f"trials {view.numbers}" if view.pooled else f"trial {view.number}"
    head = f"{who}, {view.state.lower()} after epoch {view.epoch}"
    return "<br>".join(html.escape(line) for line in (head, *lines, *values))


def scatter(points: Iterable[Sequence[Any]], name: str, **settings: Any) -> Any:
    """Return a trace of points (x, y), or (x, y, text) with a hover text each."""
    x, y, *texts = list(zip(*points, strict=True)) or [(), ()]
    if texts:
        settings |= {"hovertext": texts[0], "hoverinfo": "text"}
    return go.Scatter(x=x, y=y, name=name, **settings)


def joined(lines: Iterable[Sequence[Sequence[Any]]]) -> Iterator[Sequence[Any]]:
    """Yield the (x, y, text) of several lines with a gap behind each: they make one trace."""
    for line in lines:
        yield from line
        yield None, None, None


def bars(lengths: Mapping[str, float], name: str, color: str, **settings: Any) -> Any:
    """Return a trace of horizontal bars by their names."""
    return go.Bar(
        y=list(lengths),
        x=list(lengths.values()),
        name=name,
        orientation="h",
        marker={"color": color},
        **settings,
    )


def chart(traces: Sequence[Any], *, height: int = 360, x: str = "", y: str = "") -> Any:
    """Return a figure of the traces that hold something; the page gives it colours and width."""
    plot = go.Figure([trace for trace in traces if trace.x])
    plot.update_xaxes(title=x)
    plot.update_yaxes(title=y)
    return plain(plot, height=height)


def padded(values: Iterable[float], below: float, above: float) -> list[float]:
    """Return the range of an axis: all values, with shares of their span as room around them."""
    known = list(values)
    low, high = min(known), max(known)
    span = max(high - low, 1.0)
    return [low - below * span, high + above * span]


def plain(plot: Any, *, height: int) -> Any:
    """Return a figure without a theme of its own, with narrow margins."""
    plot.update_layout(
        template="none",
        title=None,
        height=height,
        margin={"l": 56, "r": 12, "t": 16, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )
    plot.update_xaxes(automargin=True)
    plot.update_yaxes(automargin=True)
    return plot
