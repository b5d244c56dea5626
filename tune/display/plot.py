"""The picture of a study: every student between ID and OOD, the front, and both teachers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from refkd.errors import RefKDError
from refkd.files import replaced
from tune.display.console import axes_of, axis_words
from tune.study.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
_STYLES = {
    "COMPLETE": ("o", "#2a6f97", "complete"),
    "PRUNED": ("v", "#c9a227", "pruned, at its last epoch"),
    "RUNNING": ("s", "#8d99ae", "running"),
}
_TEACHERS = {"id": "#9b2226", "ood": "#6a4c93"}


def plot_front(summary: Summary, path: Path) -> None:
    """Write the picture to `path`; `RefKDError` where its ending is no format or nothing is there.

    Axes are both objectives, or validation mIoU in percent where there are not two; the front
    joins complete trials that no other beats in both.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise RefKDError(f"{path}: the picture's name must end in one of {', '.join(FORMATS)}")
    x, y = axes_of(summary.objectives)
    if not any(x in trial.metrics and y in trial.metrics for trial in summary.trials):
        raise RefKDError(f"study {summary.study}: no trial has an epoch yet, nothing to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for state, (marker, color, label) in _STYLES.items():
        shown = [t.metrics for t in summary.points if t.state == state and y in t.metrics]
        if shown:
            places = [m[x] for m in shown], [m[y] for m in shown]
            axes.scatter(*places, marker=marker, c=color, label=label)
    _draw_front(axes, summary, x, y)
    for role, m in summary.teachers.items():
        if x in m and y in m:
            style = _TEACHERS.get(role)
            axes.scatter(m[x], m[y], marker="*", s=160, c=style, label=f"{role} teacher")
    axes.set_xlabel(axis_words(x))
    axes.set_ylabel(axis_words(y))
    axes.set_title(f"study {summary.study}: {summary.ended} trials")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with replaced(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=120)


def _draw_front(axes: Axes, summary: Summary, x: str, y: str) -> None:
    front = [summary.trial(number) for number in summary.front]
    points = sorted((t.metrics[x], t.metrics[y]) for t in front if y in t.metrics)
    if points:
        side: Literal["pre", "post"] = "post" if x in summary.minimize else "pre"
        axes.step(*zip(*points, strict=True), where=side, color="#2a6f97", label="front")
    for alias, number in summary.champions.items():
        metrics = summary.trial(number).metrics
        axes.annotate(
            f"{alias} ({number})",
            (metrics[x], metrics[y]),
            xytext=(6, 8 if alias == "best-id" else -14),
            textcoords="offset points",
            fontsize=9,
        )
