"""Which of the trials' values mattered, as Optuna draws it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial
from optuna.visualization import plot_param_importances, plot_slice

from tune.display.console import metric_name, plural
from tune.report import draw
from tune.report.figure import Panel, Section, Table, short_name, shown, too_few
from tune.study.snapshot import StudySnapshot

FEW = 30
"""Complete trials below which a ranking of the values is called a hint."""
SLICED = ("distill.warmup_epochs", "distill.lambda_id", "distill.lambda_ood")
_SCALE = [[0.0, "#6f86d6"], [1.0, "#1f9d6b"]]


def importance(study: StudySnapshot) -> Section:
    """Return Optuna's importance of each value for each objective."""
    key, title = "importance", "Which values mattered"
    complete = study.count("COMPLETE")
    if complete < 3:
        return Section(key=key, title=title, text=too_few(complete, 3))
    common = intersection_search_space(study.optuna.get_trials(deepcopy=False))
    names = [name for name, distribution in common.items() if not distribution.single()]
    if not names:
        text = "No value was searched in one and the same range by all complete trials."
        return Section(key=key, title=title, text=text)
    panels, shares = [], {}
    for column, metric in enumerate(study.objectives):
        # PED-ANOVA takes low targets for good ones, and warns of it whatever it is given.
        target = _target(column, sign=-1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes")
            plot = plot_param_importances(
                study.optuna, params=names, target=target, target_name=metric
            )
        (drawn,) = plot.data
        held = shares[metric] = dict(zip(drawn.y, drawn.x, strict=True))
        first, words = list(held)[-1], metric_name(metric)
        plot.update_traces(marker_color=draw.COLORS["COMPLETE"], cliponaxis=False)
        plot.update_yaxes(tickvals=list(held), ticktext=[*map(short_name, held)], title=None)
        plot.update_xaxes(title=f"share, for {words}", range=[0, 1.2 * held[first]])
        plot.update_layout(showlegend=False)
        label = f"Importance for {words}: {short_name(first)} leads with {held[first]:.0%}."
        name = f"importance-{metric.replace('/', '-')}"
        panels.append(Panel(name=name, label=label, plot=draw.plain(plot, height=280)))
    text = f"PED-ANOVA on {plural(complete, 'complete trial')}; shares add up to 1."
    if complete < FEW:
        text += f" Fewer than {FEW}: a hint, not a finding."
    table = Table(
        heads=["", *map(metric_name, shares)],
        rows=[[short_name(n), *(f"{s[n]:.2f}" for s in shares.values())] for n in names],
    )
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def slices(study: StudySnapshot) -> Section:
    """Return Optuna's slices of warm-up and both lambdas, by objective."""
    key, title = "slices", "Warm-up and weights of the teachers"
    names = [name for name in SLICED if name in study.file.space]
    complete = study.ended("COMPLETE")
    if not names:
        wanted = ", ".join(map(short_name, SLICED))
        return Section(key=key, title=title, text=f"None of {wanted} is in the space.")
    if len(complete) < 2:
        return Section(key=key, title=title, text=too_few(len(complete), 2))
    panels = []
    for name in names:
        known = [trial.values[name] for trial in complete if name in trial.values]
        for column, metric in enumerate(study.objectives if known else []):
            plot = plot_slice(study.optuna, [name], target=_target(column), target_name=metric)
            plot.update_traces(
                marker={"showscale": False, "size": 9, "colorscale": _SCALE, "line": {"width": 0}},
                hovertemplate="trial %{marker.color}<br>%{x}<br>%{y:.2f}<extra></extra>",
            )
            x, y = short_name(name), metric_name(metric)
            plot.update_xaxes(title=x, **_ticks(known, log=study.file.space[name].log))
            plot.update_yaxes(title=y)
            key_of_panel = f"slice-{name}-{metric}".replace("/", "-").replace(".", "-")
            drawn = draw.plain(plot, height=250)
            panels.append(Panel(name=key_of_panel, label=f"{y} against {x}", plot=drawn))
    text = (
        f"Each point is one of {plural(len(complete), 'complete trial')}; the greener, the later. "
        "A pruned trial has no value and is not shown."
    )
    rows = []
    for trial in complete:
        values = [shown(trial.values.get(name, "")) for name in names]
        scores = [f"{value:.2f}" for value in trial.objectives or []]
        rows.append([str(trial.number), *values, *scores])
    heads = ["trial", *map(short_name, names), *map(metric_name, study.objectives)]
    table = Table(heads=heads, rows=rows)
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _ticks(known: Sequence[Any], *, log: bool) -> dict[str, Any]:
    """Return ticks that can be read: whole numbers, or 1, 2 and 5 of each power of ten."""
    low, high = min(known), max(known)
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        if sum(low <= tick <= high for tick in ticks) < 2:
            ticks = [digit * 10.0**power for power in powers for digit in range(1, 10)]
        return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    whole = all(isinstance(value, int) for value in known)
    return {"dtick": 1} if whole and high - low <= 12 else {}


def _target(column: int, *, sign: int = 1) -> Callable[[FrozenTrial], float]:
    return lambda trial: sign * trial.values[column]
