"""Which values mattered: importance by objective, and slices, both as Optuna draws them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tune.report.figure import (
    COLORS,
    Panel,
    Section,
    Table,
    metric_name,
    plain,
    plural,
    short_name,
    shown,
    too_few,
)
from tune.study.snapshot import StudySnapshot

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEW = 30
"""Complete trials below which a ranking of the values is called a hint."""
SLICED = ("distill.warmup_epochs", "distill.lambda_id", "distill.lambda_ood")


def importance(study: StudySnapshot) -> Section:
    """Return Optuna's importance of each value for each objective."""
    from optuna.importance import get_param_importances
    from optuna.visualization import plot_param_importances

    key, title = "importance", "Which values mattered"
    complete = _complete(study)
    if len(complete) < 3:
        return Section(key=key, title=title, text=too_few(len(complete), 3))
    names = _comparable(complete)
    if not names:
        text = "No value was searched in one and the same range by all complete trials."
        return Section(key=key, title=title, text=text)
    panels, shares = [], {}
    for column, metric in enumerate(study.objectives):
        # PED-ANOVA takes low targets for good ones, and warns of it whatever it is given.
        target = _target(study, column, sign=-1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes")
            found = get_param_importances(study.optuna, params=names, target=target)
            plot = plot_param_importances(
                study.optuna, params=names, target=target, target_name=metric
            )
        shares[metric] = found
        panels.append(_importance_panel(plot, metric, found))
    text = f"PED-ANOVA on {plural(len(complete), 'complete trial')}; shares add up to 1."
    if len(complete) < FEW:
        text += f" Fewer than {FEW}: a hint, no finding."
    table = Table(
        heads=["", *map(metric_name, shares)],
        rows=[[short_name(n), *(f"{s[n]:.2f}" for s in shares.values())] for n in names],
    )
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _comparable(complete: Sequence[FrozenTrial]) -> list[str]:
    """Return the values that every trial drew from the same range, as Optuna compares them."""
    from optuna.search_space import intersection_search_space

    held = intersection_search_space(list(complete))
    return [name for name, distribution in held.items() if not distribution.single()]


def _importance_panel(plot: Any, metric: str, shares: dict[str, float]) -> Panel:
    names = list(shares)
    plot.update_traces(marker_color=COLORS["COMPLETE"], cliponaxis=False)
    plot.update_yaxes(tickvals=names[::-1], ticktext=[*map(short_name, names)][::-1], title=None)
    limits = [0, 1.2 * max(shares.values())]
    plot.update_xaxes(title=f"share, for {metric_name(metric)}", range=limits)
    plot.update_layout(showlegend=False)
    words = f"{short_name(names[0])} leads with {shares[names[0]]:.0%}"
    return Panel(
        name=f"importance-{metric.replace('/', '-')}",
        label=f"Importance for {metric_name(metric)}: {words}.",
        plot=plain(plot, height=280),
    )


def slices(study: StudySnapshot) -> Section:
    """Return Optuna's slices of warm-up and both lambdas, by objective."""
    from optuna.visualization import plot_slice

    key, title = "slices", "Warm-up and weights of the teachers"
    names = [name for name in SLICED if name in study.file.space]
    complete = _complete(study)
    if not names:
        wanted = ", ".join(map(short_name, SLICED))
        return Section(key=key, title=title, text=f"None of {wanted} is in the space.")
    if len(complete) < 2:
        return Section(key=key, title=title, text=too_few(len(complete), 2))
    panels = []
    for name in names:
        if not any(name in trial.params for trial in complete):
            continue
        for column, metric in enumerate(study.objectives):
            words = f"{metric_name(metric)} against {short_name(name)}"
            plot = plot_slice(
                study.optuna, [name], target=_target(study, column), target_name=metric
            )
            plot.update_traces(
                marker={"showscale": False, "size": 9, "colorscale": _SCALE, "line": {"width": 0}},
                hovertemplate="trial %{marker.color}<br>%{x}<br>%{y:.2f}<extra></extra>",
            )
            plot.update_xaxes(title=short_name(name), **_ticks(study, name))
            plot.update_yaxes(title=metric_name(metric))
            file = f"slice-{name}-{metric}".replace("/", "-").replace(".", "-")
            panels.append(Panel(name=file, label=words, plot=plain(plot, height=250)))
    text = (
        f"Each point is one of {plural(len(complete), 'complete trial')}; the greener, the later. "
        "A pruned trial has no value and is not shown."
    )
    table = Table(
        heads=["trial", *map(short_name, names), *(metric_name(m) for m in study.objectives)],
        rows=[
            [
                str(trial.number),
                *(shown(trial.params.get(name, "")) for name in names),
                *(f"{value:.2f}" for value in trial.values or []),
            ]
            for trial in complete
        ],
    )
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _ticks(study: StudySnapshot, name: str) -> dict[str, Any]:
    """Return ticks that can be read: whole numbers, or 1, 2 and 5 of each power of ten."""
    known = [t.params[name] for t in _complete(study) if name in t.params]
    if study.file.space[name].log:
        powers = range(math.floor(math.log10(min(known))), math.ceil(math.log10(max(known))) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        if sum(min(known) <= tick <= max(known) for tick in ticks) < 2:
            ticks = [digit * 10.0**power for power in powers for digit in range(1, 10)]
        return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    whole = all(isinstance(value, int) for value in known)
    return {"dtick": 1} if whole and max(known) - min(known) <= 12 else {}


_SCALE = [[0.0, "#6f86d6"], [1.0, "#1f9d6b"]]


def _complete(study: StudySnapshot) -> list[FrozenTrial]:
    return [t for t in study.optuna.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]


def _target(study: StudySnapshot, column: int, *, sign: int = 1) -> Callable[[FrozenTrial], float]:
    return lambda trial: sign * trial.values[column]
