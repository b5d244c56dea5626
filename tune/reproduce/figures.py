"""The paper's figures from our numbers, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.compat import DEFAULT
from refkd.training.validation import edges_to_seconds, predict_edges
from tune.reproduce.experiments import Experiment
from tune.reproduce.scores import SIDES
from tune.reproduce.table import Result
from tune.reproduce.units import Units

COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce")
MARKERS = ("s", "D", "o")
"""Of an ID teacher, an OOD teacher and their student."""
QUERIES = 6
"""Queries of Figure 4."""
LONGEST = 100
"""Characters of a query that are shown."""


def draw(result: Result, units: Units, dataset: Dataset, outside: Pairs, to: Path) -> None:
    """Draw a figure into a PNG file; the queries of timelines are of the pairs `outside`."""
    if result.experiment.kind == "scatter":
        figure = _scatter(result)
    elif result.experiment.kind == "curve":
        figure = _curve(result)
    else:
        figure = _timelines(result.experiment, units, dataset, outside)
    figure.savefig(to, dpi=150, bbox_inches="tight", metadata={"Software": ""})


def _scatter(result: Result) -> Figure:
    """ID against OOD mIoU; arrows go from each teacher to the student it has taught."""
    scored = result.scored
    points = {k: (row["id"]["miou"], row["ood"]["miou"]) for k, row in scored.rows.items()}
    figure = Figure(figsize=(8.4, 5.2))
    axes = figure.subplots()
    families: dict[str, list[str]] = {}
    for system in result.experiment.systems:
        families.setdefault(system.backbone, []).append(system.label)
    for colour, labels in zip(COLOURS, families.values(), strict=False):
        end = points[labels[-1]]
        for label, marker in zip(labels, MARKERS, strict=True):
            inside, outside = points[label]
            is_student = label == labels[-1]
            axes.errorbar(
                inside.value,
                outside.value,
                xerr=[[length] for length in inside.reach],
                yerr=[[length] for length in outside.reach],
                fmt=marker,
                color=colour,
                elinewidth=0.6,
                markersize=8 if is_student else 6,
                markerfacecolor=colour if is_student else "white",
                label=label,
                zorder=3,
            )
            if not is_student:
                axes.annotate(
                    "",
                    (end[0].value, end[1].value),
                    (inside.value, outside.value),
                    arrowprops={"arrowstyle": "->", "color": colour, "alpha": 0.6},
                )
    axes.set_xlim(*_around([inside.value for inside, _ in points.values()]))
    axes.set_ylim(*_around([outside.value for _, outside in points.values()]))
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


def _curve(result: Result) -> Figure:
    """The student by the length of its warm-up, with both teachers as lines."""
    systems, rows = result.experiment.systems, result.scored.rows
    figure = Figure(figsize=(9.6, 4.0))
    panels = figure.subplots(1, 2, sharex=True)
    swept = {s.label: s.distill["warmup_epochs"] for s in systems if s.recipe is None}
    teachers = [s.label for s in systems if s.recipe is not None]
    for axes, metric, head in zip(panels, ("miou", "r1_iou0.7"), ("mIoU", "R1@0.7"), strict=True):
        for colour, side in zip(COLOURS, SIDES, strict=False):
            cells = [rows[label][side][metric] for label in swept]
            x, values = list(swept.values()), np.array([[c.value, c.low, c.high] for c in cells])
            axes.plot(x, values[:, 0], "o-", color=colour, label=f"student, {side.upper()}")
            axes.fill_between(x, values[:, 1], values[:, 2], color=colour, alpha=0.12)
            for dash, teacher in zip(("--", ":"), teachers, strict=True):
                axes.axhline(
                    rows[teacher][side][metric].value,
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


def _timelines(experiment: Experiment, units: Units, dataset: Dataset, pairs: Pairs) -> Figure:
    """Ground truth, and what the first seed's networks answer, for some queries of a role.

    The queries lie evenly spaced between the worst and the best of the student, the last system.
    """
    windows = DEFAULT.windows(pairs)
    spans, tiou = {"ground truth": windows[:, 0]}, {}
    for system in experiment.systems:
        backbone = units.rows[system.label][0].frozen().backbone(dataset)
        spans[system.label] = edges_to_seconds(predict_edges(backbone, pairs), pairs)
        # Of several windows the student's is shown, which comes last.
        found = DEFAULT.matched(spans[system.label], windows)
        tiou[system.label], spans["ground truth"] = found
    order = np.argsort(tiou[experiment.systems[-1].label], kind="stable")
    places = np.linspace(0, len(order) - 1, min(QUERIES, len(order))).round().astype(int)
    figure = Figure(figsize=(8.0, 0.3 + 1.05 * len(places)))
    panels = figure.subplots(len(places), 1, squeeze=False)
    for axes, row in zip(panels[:, 0], order[places], strict=True):
        duration, query = float(pairs.duration[row]), pairs.queries[row]
        for place, (name, edges) in enumerate(spans.items()):
            start, end = float(edges[row][0]), float(edges[row][1])
            colour = "#444444" if place == 0 else COLOURS[(place - 1) % len(COLOURS)]
            axes.barh(place, end - start, left=start, height=0.62, color=colour)
            overlap = f"  tIoU {tiou[name][row]:.2f}" if name in tiou else ""
            text = f"{start:.1f}–{end:.1f} s{overlap}"
            axes.text(duration * 1.01, place, text, fontsize=7, va="center")
        axes.set_yticks(range(len(spans)), list(spans), fontsize=7)
        axes.set_xlim(0, duration)
        axes.invert_yaxis()
        axes.tick_params(axis="x", labelsize=7)
        shown = query if len(query) <= LONGEST else f"{query[: LONGEST - 1]}…"
        axes.set_title(f"“{shown}”", fontsize=8, loc="left")
        _plain(axes)
    figure.tight_layout()
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)
