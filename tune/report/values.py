"""Which of the trials' values mattered, and how the paper's own ones were tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from optuna.visualization import plot_slice

from tune.config.space import Values
from tune.display.console import amount, metric_name, plural
from tune.report import draw
from tune.report.figure import Panel, Section, Table, short_name, shown, too_few
from tune.study.effects import FEW, PARTS, Share, share
from tune.study.ranking import current
from tune.study.snapshot import StudySnapshot

SLICED = ("distill.warmup_epochs", "distill.lambda_id", "distill.lambda_ood")
_SCALE = [[0.0, "#6f86d6"], [1.0, "#1f9d6b"]]


def importance(study: StudySnapshot) -> Section:
    """Return what each value alone explains of each objective, with intervals.

    Not by Optuna's PED-ANOVA, which looks at the best tenth of the trials: three of thirty.
    """
    key, title = "importance", "Which values mattered"
    complete = [trial for trial in current(study.trials) if trial.objectives]
    if len(complete) < FEW:
        text = f"{too_few(len(complete), FEW)} Raise the budget and search on to learn it."
        return Section(key=key, title=title, text=text)
    shares = {
        metric: _shares(study, [(trial.values, (trial.gains or [])[place]) for trial in complete])
        for place, metric in enumerate(study.objectives)
    }
    names = list(study.file.space)
    panels = [_bars(metric, found) for metric, found in shares.items() if found]
    count = plural(len(complete), "complete trial")
    text = (
        f"The share of the differences between {count} that each "
        f"value alone explains, by the mean rank in {PARTS} parts of its range or of each choice; "
        "lines and brackets are 95 % intervals over resampled trials. What two values do together "
        "is not seen, so shares need not add up to 1."
    )
    table = Table(
        heads=["", *map(metric_name, shares)],
        rows=[[short_name(n), *(_cell(found.get(n)) for found in shares.values())] for n in names],
    )
    return Section(key=key, title=title, text=text, panels=panels, tables=[table])


def _shares(study: StudySnapshot, scored: Sequence[tuple[Values, float]]) -> dict[str, Share]:
    """Return the share of each key that enough trials have, the largest last."""
    found = {}
    for name, dimension in study.file.space.items():
        known = [(values[name], score) for values, score in scored if name in values]
        held = None if len(known) < FEW else share(dimension, *zip(*known, strict=True))
        if held is not None:
            found[name] = held
    return dict(sorted(found.items(), key=lambda one: one[1].value))


def _bars(metric: str, shares: Mapping[str, Share]) -> Panel:
    errors = {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, one.high - one.value) for one in shares.values()],
        "color": draw.COLORS["RUNNING"],
        "arrayminus": [max(0.0, one.value - one.low) for one in shares.values()],
    }
    words, (first, largest) = metric_name(metric), list(shares.items())[-1]
    lengths = {short_name(name): one.value for name, one in shares.items()}
    trace = draw.bars(lengths, words, draw.COLORS["COMPLETE"], error_x=errors)
    plot = draw.chart([trace], height=120 + 32 * len(shares), x=f"share, for {words}")
    plot.update_layout(showlegend=False)
    plot.update_xaxes(range=[0, 1])
    return Panel(
        name=f"importance-{metric.replace('/', '-')}",
        label=f"What each value explains of {words}: {short_name(first)} leads with "
        f"{_cell(largest)}.",
        plot=plot,
    )


def _cell(found: Share | None) -> str:
    return (
        "too few trials"
        if found is None
        else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    )


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
        scores = list(map(amount, study.objectives, trial.objectives or []))
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


def _target(column: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: trial.values[column]
