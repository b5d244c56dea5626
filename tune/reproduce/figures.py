"""The paper's figures from our numbers, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.comparison import Figure as Score
from refkd.evaluation.overlap import temporal_iou
from refkd.training.validation import edges_to_seconds, predict_edges
from tune.reproduce.experiments import Experiment
from tune.reproduce.scores import Scored
from tune.reproduce.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce")
MARKERS = ("s", "D", "o")
"""Of an ID teacher, an OOD teacher and their student."""
QUERIES = 6
"""Queries of Figure 4."""


class Timeline(Config):
    """One query of Figure 4: spans in seconds."""

    query: str
    duration: float
    truth: tuple[float, float]
    answers: dict[str, tuple[float, float]]
    """By label of the system."""
    tiou: dict[str, float]


def draw(experiment: Experiment, scored: Scored, timelines: Sequence[Timeline], to: Path) -> None:
    """Draw a figure into a PNG file."""
    figure: Figure
    if experiment.kind == "scatter":
        figure = _scatter(experiment, scored)
    elif experiment.kind == "curve":
        figure = _curve(experiment, scored)
    else:
        figure = _timelines(timelines)
    figure.savefig(to, dpi=150, bbox_inches="tight", metadata={"Software": ""})


def _scatter(experiment: Experiment, scored: Scored) -> Figure:
    """ID against OOD mIoU; arrows go from each teacher to the student it has taught."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 5.2))
    axes = figure.subplots()
    families: dict[str, list[str]] = {}
    for system in experiment.systems:
        families.setdefault(system.backbone, []).append(system.label)
    for colour, labels in zip(COLOURS, families.values(), strict=False):
        points = {label: _point(scored, label) for label in labels}
        end = points[labels[-1]]
        for label, marker in zip(labels, MARKERS, strict=True):
            inside, outside = points[label]
            axes.errorbar(
                inside.value,
                outside.value,
                xerr=[[length] for length in inside.reach],
                yerr=[[length] for length in outside.reach],
                fmt=marker,
                color=colour,
                elinewidth=0.6,
                markersize=8 if marker == MARKERS[-1] else 6,
                markerfacecolor=colour if marker == MARKERS[-1] else "white",
                label=label,
                zorder=3,
            )
            if marker != MARKERS[-1]:
                axes.annotate(
                    "",
                    (end[0].value, end[1].value),
                    (inside.value, outside.value),
                    arrowprops={"arrowstyle": "->", "color": colour, "alpha": 0.6},
                )
    cells = [_point(scored, system.label) for system in experiment.systems]
    axes.set_xlim(*_around([inside.value for inside, _ in cells]))
    axes.set_ylim(*_around([outside.value for _, outside in cells]))
    axes.set_title("Crosses: 95 % intervals; the table has the ends of those cut off", fontsize=8)
    axes.set_xlabel(f"mIoU in distribution ({scored.roles['id']}), percent")
    axes.set_ylabel(f"mIoU out of distribution ({scored.roles['ood']}), percent")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
    _plain(axes)
    return figure


def _around(values: Sequence[float], least: float = 2.0) -> tuple[float, float]:
    """Return limits that leave half the spread of the values on both sides, at least a little."""
    margin = max(least, 0.5 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


def _curve(experiment: Experiment, scored: Scored) -> Figure:
    """The student by the length of its warm-up, with both teachers as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.0))
    panels = figure.subplots(1, 2, sharex=True)
    swept = {s.label: s.warmup_epochs for s in experiment.systems if s.is_student}
    teachers = [s.label for s in experiment.systems if not s.is_student]
    for axes, metric, head in zip(panels, ("miou", "r1_iou0.7"), ("mIoU", "R1@0.7"), strict=True):
        for colour, side in zip(COLOURS, ("id", "ood"), strict=False):
            cells = [scored.rows[label][side][metric] for label in swept]
            x = [w for w in swept.values() if w is not None]
            values = np.array([[c.value, c.low, c.high] for c in cells])
            axes.plot(x, values[:, 0], "o-", color=colour, label=f"student, {side.upper()}")
            axes.fill_between(x, values[:, 1], values[:, 2], color=colour, alpha=0.12)
            for dash, teacher in zip(("--", ":"), teachers, strict=True):
                axes.axhline(
                    scored.rows[teacher][side][metric].value,
                    linestyle=dash,
                    color=colour,
                    linewidth=0.9,
                    label=f"{teacher}, {side.upper()}",
                )
        axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]), top=min(100.0, axes.get_ylim()[1]))
        axes.set_xlabel("warm-up epochs W")
        axes.set_ylabel(f"{head}, percent")
        _plain(axes)
    panels[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return figure


def _timelines(timelines: Sequence[Timeline]) -> Figure:
    """Ground truth, teachers and student of some queries, under their sentences."""
    from matplotlib.figure import Figure

    height = 0.3 + 1.05 * len(timelines)
    figure = Figure(figsize=(8.0, height))
    panels = figure.subplots(len(timelines), 1, squeeze=False)
    for axes, line in zip(panels[:, 0], timelines, strict=True):
        names = ["ground truth", *line.answers]
        spans = [line.truth, *line.answers.values()]
        for place, (name, (start, end)) in enumerate(zip(names, spans, strict=True)):
            colour = "#444444" if place == 0 else COLOURS[(place - 1) % len(COLOURS)]
            axes.barh(place, end - start, left=start, height=0.62, color=colour)
            told = "" if place == 0 else f"  tIoU {line.tiou[name]:.2f}"
            axes.text(
                line.duration * 1.01,
                place,
                f"{start:.1f}–{end:.1f} s{told}",
                fontsize=7,
                va="center",
            )
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_xlim(0, line.duration)
        axes.invert_yaxis()
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(f"“{_shortened(line.query)}”", fontsize=8, loc="left")
        _plain(axes)
    figure.tight_layout()
    return figure


def timelines(
    experiment: Experiment, units: Units, dataset: Dataset, pairs: Pairs
) -> list[Timeline]:
    """Return some queries of a role with what the first seed's networks answer.

    The choice favours nobody: queries are ordered by the tIoU of the student (the last system) and
    taken at evenly spaced places, from its worst to its best.
    """
    edges = {
        system.label: edges_to_seconds(
            predict_edges(units.rows[system.label][0].frozen().backbone(dataset), pairs), pairs
        )
        for system in experiment.systems
    }
    truth = np.clip(pairs.moments, 0.0, pairs.duration[:, None])
    scores = {label: temporal_iou(spans, truth) for label, spans in edges.items()}
    order = np.argsort(scores[experiment.systems[-1].label], kind="stable")
    places = np.linspace(0, len(order) - 1, min(QUERIES, len(order))).round().astype(int)
    return [
        Timeline(
            query=pairs.queries[row],
            duration=float(pairs.duration[row]),
            truth=_pair(truth[row]),
            answers={label: _pair(spans[row]) for label, spans in edges.items()},
            tiou={label: float(values[row]) for label, values in scores.items()},
        )
        for row in order[places]
    ]


def _pair(values: NDArray[Any]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _point(scored: Scored, label: str) -> tuple[Score, Score]:
    return scored.rows[label]["id"]["miou"], scored.rows[label]["ood"]["miou"]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)


def _shortened(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
