"""The picture of a study: every student between ID and OOD, the front, and both teachers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from refkd.errors import RefKDError
from refkd.files import replaced
from tune.display.console import ID, OOD
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

    Axes are validation mIoU in percent; the front joins complete trials that no other beats in
    both objectives.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise RefKDError(f"{path}: the picture's name must end in one of {', '.join(FORMATS)}")
    if not any(ID in trial.metrics and OOD in trial.metrics for trial in summary.trials):
        raise RefKDError(f"study {summary.study}: no trial has an epoch yet, nothing to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for state, (marker, color, label) in _STYLES.items():
        shown = [t.metrics for t in summary.trials if t.state == state and OOD in t.metrics]
        if shown:
            x, y = [m[ID] for m in shown], [m[OOD] for m in shown]
            axes.scatter(x, y, marker=marker, c=color, label=label)
    _draw_front(axes, summary)
    for role, m in summary.teachers.items():
        if OOD in m:
            style = _TEACHERS.get(role)
            axes.scatter(m[ID], m[OOD], marker="*", s=160, c=style, label=f"{role} teacher")
    axes.set_xlabel("ID validation mIoU (%)")
    axes.set_ylabel("OOD validation mIoU (%)")
    axes.set_title(f"study {summary.study}: {summary.ended} trials")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with replaced(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=120)


def _draw_front(axes: Axes, summary: Summary) -> None:
    front = [summary.trial(number) for number in summary.front]
    points = sorted((t.metrics[ID], t.metrics[OOD]) for t in front if OOD in t.metrics)
    if points:
        axes.step(*zip(*points, strict=True), where="pre", color="#2a6f97", label="front")
    for alias, number in summary.champions.items():
        metrics = summary.trial(number).metrics
        axes.annotate(
            f"{alias} ({number})",
            (metrics[ID], metrics[OOD]),
            xytext=(6, 8 if alias == "best-id" else -14),
            textcoords="offset points",
            fontsize=9,
        )
