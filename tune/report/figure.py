"""What a section of the report consists of, and how its pictures are built."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
"""Each is told from white and from near black."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers for people, as text."""

    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture."""

    name: str
    """Of the file it is kept in: letters, digits, - and _."""
    label: str
    """What it shows, for who cannot see it."""
    plot: Any
    """A `plotly.graph_objects.Figure`."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report: pictures and their numbers, or a sentence why there are none."""

    key: str
    title: str
    text: str
    """What it shows, in words."""
    panels: list[Panel] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def metric_name(metric: str) -> str:
    """Return what a metric is called in tables.

    >>> metric_name("val_ood/r1_iou0.5")
    'OOD R1@0.5'
    """
    role, _, name = metric.partition("/")
    shown = name.replace("miou", "mIoU").replace("r1_iou", "R1@")
    return f"{role.removeprefix('val_').upper()} {shown}"


def short_name(key: str) -> str:
    """Return a key of the space without its section.

    >>> short_name("distill.lambda_id")
    'lambda_id'
    """
    return key.rpartition(".")[2]


def shown(value: object) -> str:
    """Return a value as text: numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "trial"), plural(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def capitalised(sentence: str) -> str:
    """Return a sentence with its first letter as a capital."""
    return sentence[:1].upper() + sentence[1:]


def too_few(count: int, needed: int) -> str:
    """Say that a figure needs more complete trials than there are."""
    held = "no complete trial" if count == 0 else f"only {plural(count, 'complete trial')}"
    return f"The study has {held}; this needs {needed}."


def hover(view: TrialView, *lines: str) -> str:
    """Return what is shown when a trial is pointed at: its state, some lines, its values."""
    values = [f"{short_name(key)} {shown(value)}" for key, value in view.values.items()]
    head = f"trial {view.number}, {view.state.lower()} after epoch {view.epoch}"
    return "<br>".join(html.escape(line) for line in (head, *lines, *values))


def scatter(points: Iterable[Sequence[Any]], name: str, **settings: Any) -> Any:
    """Return a trace of (x, y) or (x, y, text); the text is shown when a point is pointed at."""
    import plotly.graph_objects as go

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
    import plotly.graph_objects as go

    return go.Bar(
        y=list(lengths),
        x=list(lengths.values()),
        name=name,
        orientation="h",
        marker={"color": color},
        **settings,
    )


def chart(traces: Sequence[Any], *, height: int = 360, x: str = "", y: str = "") -> Any:
    """Return a figure of some traces; the page gives it its colours and its width."""
    import plotly.graph_objects as go

    plot = go.Figure(list(traces))
    plot.update_xaxes(title=x)
    plot.update_yaxes(title=y)
    return plain(plot, height=height)


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
