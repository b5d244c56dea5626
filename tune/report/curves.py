"""Learning curves: where pruned trials ended, and how the teachers weighed in a student's target.

The facts `train/pi_*` (affinity of a teacher to its side branch) and `train/rho_*` (confidence of
that branch) are logged by `refkd.distill.objective` after the warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tune.display.plot import ID, OOD
from tune.report.figure import (
    COLORS,
    NAMES,
    Panel,
    Section,
    Table,
    aliases_of,
    chart,
    gapped,
    hover,
    plural,
)
from tune.study.snapshot import StudySnapshot
from tune.study.view import TrialView

_MARKS = {"COMPLETE": (0.75, "circle"), "PRUNED": (0.5, "x"), "RUNNING": (0.8, "square")}
REFLECTION = {
    "pi": "affinity π of each teacher to the student's side branch",
    "rho": "confidence ρ of each side branch",
}


def curves(study: StudySnapshot) -> Section:
    """Return ID and OOD validation mIoU by epoch, a line a trial."""
    key, title = "curves", "Learning curves"
    if not any(v.curve for v in study.trials):
        return Section(key=key, title=title, text="No trial has an epoch yet.")
    text = "Validation mIoU after each epoch; a cross marks where a trial was pruned."
    if study.summary.teachers:
        text += " Dashed: the teachers as they were frozen."
    panels = [
        Panel(
            name=f"curves-{metric.partition('/')[0]}",
            label=f"{NAMES[metric]} by epoch. {text}",
            plot=_by_epoch(
                study, [*_lines(study, metric), *_teachers(study, metric)], y=NAMES[metric]
            ),
        )
        for metric in (ID, OOD)
    ]
    return Section(key=key, title=title, text=text, panels=panels, tables=[_table(study)])


def reflection(study: StudySnapshot) -> Section:
    """Return affinities and confidences over the epochs of the champion and of all students."""
    key, title = "reflection", "What the students took from their teachers"
    held = [v for v in study.trials if any("train/pi_id" in m for m in v.curve.values())]
    if not held:
        return Section(
            key=key,
            title=title,
            text="No student has passed its warm-up yet, so no affinity or confidence is known.",
        )
    numbers = aliases_of(study.champions)
    champion = next((v for number in numbers for v in held if v.number == number), None)
    who = (
        "no champion yet"
        if champion is None
        else f"trial {champion.number} ({numbers[champion.number]})"
    )
    text = (
        "Affinity π: how far a student already agrees with a teacher; the more, the less that "
        "teacher counts. Confidence ρ: how well the side branch that imitates a teacher finds the "
        "moment; the less, the more the truth takes that teacher's place. "
        f"Solid: {who}; dotted: median of {plural(len(held), 'student')}."
    )
    panels = [
        Panel(
            name=f"reflection-{symbol}",
            label=f"{words} by epoch. {_ends(champion or held[0], symbol)}",
            plot=_by_epoch(
                study,
                _reflections(held, champion, symbol),
                y={"pi": "affinity π", "rho": "confidence ρ"}[symbol],
            ),
        )
        for symbol, words in REFLECTION.items()
    ]
    table = Table(
        heads=["epoch", *(f"median {n}" for n in ("π ID", "π OOD", "ρ ID", "ρ OOD"))],
        rows=[
            [str(epoch), *(_shown(_median(held, f"{s}_{k}").get(epoch)) for s, k in _PAIRS)]
            for epoch in sorted(_median(held, "pi_id"))
        ],
    )
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


_PAIRS = (("pi", "id"), ("pi", "ood"), ("rho", "id"), ("rho", "ood"))


def _by_epoch(study: StudySnapshot, traces: list[Any], *, y: str) -> Any:
    plot = chart(traces, height=340, x="epoch", y=y)
    plot.update_xaxes(dtick=max(1, -(-study.epochs // 8)))
    return plot


def _lines(study: StudySnapshot, metric: str) -> list[Any]:
    import plotly.graph_objects as go

    traces = []
    champions = aliases_of(study.champions)
    plain = [v for v in study.trials if v.number not in champions]
    chosen = [v for v in study.trials if v.number in champions]
    groups = [(state, [v for v in plain if v.state == state]) for state in _MARKS]
    for group, views in [*groups, ("champion", chosen)]:
        held = [v for v in views if any(metric in m for m in v.curve.values())]
        if not held:
            continue
        opacity, symbol = _MARKS.get(group, (1.0, "circle"))
        points = [[(e, m[metric]) for e, m in v.curve.items() if metric in m] for v in held]
        traces.append(
            go.Scatter(
                x=gapped([[e for e, _ in line] for line in points]),
                y=gapped([[y for _, y in line] for line in points]),
                mode="lines+markers",
                name=group.lower(),
                opacity=opacity,
                line={"color": COLORS[group], "width": 3 if group == "champion" else 1.5},
                marker={
                    "symbol": symbol,
                    "color": COLORS[group],
                    "opacity": 1.0,
                    "line": {"width": 0},
                    "size": gapped([[*[1] * (len(line) - 1), 8] for line in points], gap=1),
                },
                hovertext=gapped(
                    [
                        [hover(v, f"epoch {e}: {y:.2f}") for e, y in line]
                        for v, line in zip(held, points, strict=True)
                    ]
                ),
                hoverinfo="text",
            )
        )
    return traces


def _teachers(study: StudySnapshot, metric: str) -> list[Any]:
    import plotly.graph_objects as go

    return [
        go.Scatter(
            x=[1, study.epochs],
            y=[metrics[metric]] * 2,
            mode="lines",
            name=f"{role.upper()} teacher",
            line={"color": COLORS.get(role), "dash": "dash", "width": 1.5},
            hovertext=f"{role.upper()} teacher: {metrics[metric]:.2f}",
            hoverinfo="text",
        )
        for role, metrics in study.summary.teachers.items()
        if metric in metrics
    ]


def _table(study: StudySnapshot) -> Table:
    every = sorted({e for v in study.trials for e in v.curve})
    epochs = every if len(every) <= 12 else sorted({*every[:: len(every) // 10], every[-1]})
    rows = []
    for view in study.trials:
        for metric in (ID, OOD):
            cells = [_shown(view.curve.get(e, {}).get(metric)) for e in epochs]
            rows.append([str(view.number), view.state, NAMES[metric], *cells])
    return Table(heads=["trial", "state", "", *(f"epoch {e}" for e in epochs)], rows=rows)


def _reflections(held: Sequence[TrialView], champion: TrialView | None, symbol: str) -> list[Any]:
    import plotly.graph_objects as go

    traces = []
    for kind in ("id", "ood"):
        name = f"{symbol}_{kind}"
        middle = _median(held, name)
        traces.append(
            go.Scatter(
                x=list(middle),
                y=list(middle.values()),
                mode="lines+markers",
                name=f"{kind.upper()}, median",
                line={"color": COLORS[kind], "dash": "dot", "width": 1.5},
                marker={"size": 4},
            )
        )
        if champion is not None:
            line = _line(champion, name)
            traces.append(
                go.Scatter(
                    x=list(line),
                    y=list(line.values()),
                    mode="lines+markers",
                    name=f"{kind.upper()}, trial {champion.number}",
                    line={"color": COLORS[kind], "width": 2.5},
                )
            )
    return traces


def _line(view: TrialView, name: str) -> dict[int, float]:
    key = f"train/{name}"
    return {epoch: metrics[key] for epoch, metrics in view.curve.items() if key in metrics}


def _median(held: Sequence[TrialView], name: str) -> dict[int, float]:
    by_epoch: dict[int, list[float]] = {}
    for view in held:
        for epoch, value in _line(view, name).items():
            by_epoch.setdefault(epoch, []).append(value)
    return {epoch: median(values) for epoch, values in sorted(by_epoch.items())}


def _ends(view: TrialView, symbol: str) -> str:
    parts = []
    for kind in ("id", "ood"):
        line = list(_line(view, f"{symbol}_{kind}").values())
        if line:
            parts.append(f"{kind.upper()} from {line[0]:.2f} to {line[-1]:.2f}")
    return f"Trial {view.number}: {', '.join(parts)}."


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
