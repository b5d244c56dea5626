"""Over the epochs: learning curves, what pruning saved, and how the teachers were weighed.

`refkd.distill.objective` logs `train/pi_*` (affinity) and `train/rho_*` (confidence).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

from tune.display.console import ID, OOD, aliases_of, metric_name, plural, score
from tune.report import draw
from tune.report.figure import Panel, Section, Table
from tune.study.snapshot import StudySnapshot
from tune.study.view import TrialView

_STYLES = {
    "COMPLETE": (0.75, "circle"),
    "PRUNED": (0.5, "x"),
    "RUNNING": (0.8, "square"),
    "champion": (1.0, "circle"),
}
_SYMBOLS = {
    "pi": ("affinity π", "affinity π of each teacher to the student's side branch"),
    "rho": ("confidence ρ", "confidence ρ of each side branch"),
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
            label=f"{metric_name(metric)} by epoch. {text}",
            plot=_by_epoch(study, _lines(study, metric), metric_name(metric)),
        )
        for metric in (ID, OOD)
    ]
    every = sorted({e for v in study.trials for e in v.curve})
    epochs = every if len(every) <= 12 else sorted({*every[:: len(every) // 10], every[-1]})
    rows = []
    for view in study.trials:
        for metric in (ID, OOD):
            cells = [score(view.curve.get(e, {}), metric) for e in epochs]
            rows.append([str(view.number), view.state, metric_name(metric), *cells])
    table = Table(heads=["trial", "state", "", *(f"epoch {e}" for e in epochs)], rows=rows)
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _lines(study: StudySnapshot, metric: str) -> list[Any]:
    """Return a trace of the trials of each state, one of the champions, and the teachers."""
    champions = set(study.champions.values())
    traces = []
    for group, (opacity, symbol) in _STYLES.items():
        lines = [
            [(e, y, draw.hover(v, f"epoch {e}: {y:.2f}")) for e, y in _line(v, metric).items()]
            for v in study.trials
            if group == ("champion" if v.number in champions else v.state) and _line(v, metric)
        ]
        marker = {
            "symbol": symbol,
            "color": draw.COLORS[group],
            "opacity": 1.0,
            "line": {"width": 0},
            "size": [size for line in lines for size in (*[1] * (len(line) - 1), 8, 1)],
        }
        style = {"color": draw.COLORS[group], "width": 3 if group == "champion" else 1.5}
        form: dict[str, Any] = {"opacity": opacity, "line": style, "marker": marker}
        form["mode"] = "lines+markers"
        traces.append(draw.scatter(draw.joined(lines), group.lower(), **form))
    for role, metrics in study.summary.teachers.items():
        if metric in metrics:
            name, y = f"{role.upper()} teacher", metrics[metric]
            ends = [(epoch, y, f"{name}: {y:.2f}") for epoch in (1, study.epochs)]
            dashes = {"color": draw.COLORS.get(role), "dash": "dash", "width": 1.5}
            traces.append(draw.scatter(ends, name, mode="lines", line=dashes))
    return traces


def _by_epoch(study: StudySnapshot, traces: list[Any], y: str) -> Any:
    plot = draw.chart(traces, height=340, x="epoch", y=y)
    return plot.update_xaxes(dtick=max(1, -(-study.epochs // 8)))


def pruning(study: StudySnapshot) -> Section:
    """Return bars of epochs run and saved, for each epoch at which trials were stopped."""
    key, title = "pruning", "What pruning saved"
    pruned = study.ended("PRUNED")
    if not pruned:
        off = study.file.pruning.name == "none"
        why = "pruning is switched off" if off else "no trial was pruned"
        return Section(key=key, title=title, text=f"Nothing was saved: {why}.")
    rows: dict[str, tuple[int, int, int]] = {}  # trials, epochs run, epochs saved
    for stop in sorted({v.epoch for v in pruned}):
        count = sum(v.epoch == stop for v in pruned)
        spared = count * max(0, study.epochs - stop)
        rows[f"stopped at epoch {stop}"] = (count, count * stop, spared)
    others = [v.epoch for v in study.trials if v.state != "PRUNED" and v.epoch]
    if others:
        rows["not pruned"] = (len(others), sum(others), 0)
    ran, saved = (sum(row[column] for row in rows.values()) for column in (1, 2))
    text = (
        f"{plural(len(pruned), 'trial')} stopped early: {ran:,} epochs were run and {saved:,} "
        f"saved, {saved / (ran + saved):.0%} of what all trials would have taken."
    )
    traces = [
        draw.bars(
            {bar: row[column] for bar, row in reversed(rows.items())},
            name,
            draw.COLORS[color],
            opacity=opacity,
            hovertemplate="%{y}: %{x} epochs " + name + "<extra></extra>",
        )
        for name, column, color, opacity in (
            ("run", 1, "COMPLETE", 1.0),
            ("saved", 2, "PRUNED", 0.55),
        )
    ]
    plot = draw.chart(traces, height=120 + 44 * len(rows), x="epochs")
    plot.update_layout(barmode="stack")
    table = Table(
        heads=["", "trials", "epochs run", "epochs saved"],
        rows=[[name, *(f"{n:,}" for n in numbers)] for name, numbers in rows.items()],
    )
    panel = Panel(name="pruning", label=text, plot=plot)
    return Section(key=key, title=title, text=text, panels=[panel], tables=[table])


def reflection(study: StudySnapshot) -> Section:
    """Return affinities and confidences over the epochs of the champion and of all students."""
    key, title = "reflection", "What the students took from their teachers"
    held = [v for v in study.trials if any("train/pi_id" in m for m in v.curve.values())]
    if not held:
        text = "No student has passed its warm-up yet, so no affinity or confidence is known."
        return Section(key=key, title=title, text=text)
    names = aliases_of(study.champions)
    champion = next((v for number in names for v in held if v.number == number), None)
    who = "no champion yet"
    if champion is not None:
        who = f"trial {champion.number} ({names[champion.number]})"
    text = (
        "Affinity π: how far a student already agrees with a teacher; the more, the less that "
        "teacher counts. Confidence ρ: how well the side branch that imitates a teacher finds the "
        "moment; the less, the more the truth takes that teacher's place. "
        f"Solid: {who}; dotted: median of {plural(len(held), 'student')}."
    )
    panels, medians = [], {}
    for symbol, (y, words) in _SYMBOLS.items():
        traces, ends = [], []
        for kind in ("id", "ood"):
            fact, side = f"train/{symbol}_{kind}", kind.upper()
            medians[f"median {y[-1]} {side}"] = middle = _median(held, fact)
            form: dict[str, Any] = {"mode": "lines+markers", "marker": {"size": 4}}
            form["line"] = {"color": draw.COLORS[kind], "dash": "dot", "width": 1.5}
            traces.append(draw.scatter(middle.items(), f"{side}, median", **form))
            line = _line(champion or held[0], fact)
            values = list(line.values())
            if champion is not None:
                name = f"{side}, trial {champion.number}"
                solid = {"color": draw.COLORS[kind], "width": 2.5}
                trace = draw.scatter(line.items(), name, mode="lines+markers", line=solid)
                traces.append(trace)
            if values:
                ends.append(f"{side} from {values[0]:.2f} to {values[-1]:.2f}")
        label = f"{words} by epoch. Trial {(champion or held[0]).number}: {', '.join(ends)}."
        plot = _by_epoch(study, traces, y)
        panels.append(Panel(name=f"reflection-{symbol}", label=label, plot=plot))
    rows = [
        [str(epoch), *(score(middle, epoch) for middle in medians.values())]
        for epoch in next(iter(medians.values()))
    ]
    table = Table(heads=["epoch", *medians], rows=rows)
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _line(view: TrialView, key: str) -> dict[int, float]:
    return {epoch: metrics[key] for epoch, metrics in view.curve.items() if key in metrics}


def _median(held: Sequence[TrialView], key: str) -> dict[int, float]:
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for view in held:
        for epoch, value in _line(view, key).items():
            by_epoch[epoch].append(value)
    return {epoch: median(values) for epoch, values in sorted(by_epoch.items())}
