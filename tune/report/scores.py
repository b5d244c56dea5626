"""Where champions and teachers stand: scores with intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refkd.evaluation.comparison import Figure as Score
from tune.display.final import METRICS
from tune.report.figure import COLORS, Panel, Section, Table, aliases_of, chart, plural
from tune.report.score_tables import (
    difference_table,
    floor_table,
    score_table,
    system_words,
)
from tune.study.outcomes import Comparison
from tune.study.snapshot import StudySnapshot

Bar = tuple[str, Score]
"""A name and its score with an interval."""


def search_standing(study: StudySnapshot) -> Section:
    """Return the search's own champions beside the teachers, unpaired."""
    key, title = "search-scores", "Champions of the search"
    tables = study.summary.intervals
    if not tables:
        text = "No intervals yet: they are made when the search ends with a complete trial."
        return Section(key=key, title=title, text=text)
    champions = study.scored_champions
    names = search_names(champions, next(iter(tables.values())))
    bars = {
        role: [
            (shown, Score.model_validate(systems[name]["miou"])) for name, shown in names.items()
        ]
        for role, systems in tables.items()
    }
    text = (
        f"{_begun(_who(champions))} Chosen for being the best on the search's seeds, so these "
        "scores flatter them."
    )
    table = Table(
        heads=["system", *(f"{_role(role)} {m}" for role in tables for m in ("mIoU", "R1@0.5"))],
        rows=[
            [
                shown,
                *(
                    Score.model_validate(tables[role][name][metric]).text()
                    for role in tables
                    for metric in ("miou", "r1_iou0.5")
                ),
            ]
            for name, shown in names.items()
        ],
    )
    floors = {role: systems.get("floors", {}) for role, systems in tables.items()}
    return Section(
        key=key,
        title=title,
        text=text,
        panels=_score_panels(key, bars, floors),
        tables=[table, floor_table(floors, ("miou", "r1_iou0.5"))],
    )


def finalists_standing(study: StudySnapshot) -> list[Section]:
    """Return the finalists' scores and differences on validation."""
    if study.finalists is None:
        return [
            Section(
                key="finalists",
                title="Finalists",
                text="No finalists yet. `refkd finalists` trains the best trials again on fresh "
                "seeds; only then can a champion be compared with its teachers.",
            )
        ]
    found = study.finalists
    rows = []
    for row in found.finalists:
        names = aliases_of(found.champions).get(row.trial, "")
        for run in row.runs:
            scores = [f"{run.metrics[m]:.2f}" if m in run.metrics else "" for m in _SEED_METRICS]
            state = f"failed: {run.failed}" if run.failed else names
            rows.append([str(row.trial), state, str(run.seed), *scores])
    each = Table(
        heads=["trial", "", "seed", "ID mIoU", "OOD mIoU", "harmonic"],
        rows=rows,
    )
    text = (
        f"{plural(len(found.finalists), 'trial')}, each trained from "
        f"{plural(len(found.seeds), 'seed')} that the search never used; validation."
    )
    return _comparison("finalists", "Finalists", text, found.comparison, found.champions, [each])


def final_standing(study: StudySnapshot) -> list[Section]:
    """Return what the test roles have shown; empty where nobody has looked."""
    if study.final is None:
        return []
    report = study.final
    champions = report.look.trials
    text = f"The sealed test roles: {report.look.title}. Features: {report.features}."
    return _comparison("final", "Final evaluation", text, report.comparison, champions, [])


_SEED_METRICS = ("val_id/miou", "val_ood/miou", "val/harmonic_miou")


def _comparison(
    key: str,
    title: str,
    text: str,
    comparison: Comparison,
    champions: Mapping[str, int],
    more: Sequence[Table],
) -> list[Section]:
    scores = {
        role: [(system_words(name), row["miou"]) for name, row in systems.items()]
        for role, systems in comparison.scores.items()
    }
    first = Section(
        key=key,
        title=title,
        text=f"{text} {_begun(_who(champions))}",
        panels=_score_panels(key, scores, comparison.floors),
        tables=[
            *more,
            score_table(comparison),
            floor_table(comparison.floors, list(METRICS)),
        ],
    )
    bars = {
        role: [
            (f"{system_words(student)}<br>− {system_words(teacher)}", row["miou"])
            for student, teachers in students.items()
            for teacher, row in teachers.items()
        ]
        for role, students in comparison.differences.items()
    }
    paired = Section(
        key=f"{key}-differences",
        title=f"{title}: student − teacher",
        text="Paired over the same queries, in points of mIoU. Where an interval holds 0, no "
        "difference can be told.",
        panels=[
            _panel(f"{key}-difference-{role.replace('_', '-')}", role, held, zero=True)
            for role, held in bars.items()
        ],
        tables=[difference_table(comparison)],
    )
    return [first, paired]


def _score_panels(
    key: str, bars: Mapping[str, Sequence[Bar]], floors: Mapping[str, Mapping[str, Any]]
) -> list[Panel]:
    panels = []
    for role, held in bars.items():
        panel = _panel(f"{key}-{role.replace('_', '-')}", role, held)
        best = max((f["miou"] for f in floors.get(role, {}).values()), default=None)
        if best is not None:
            _widen(panel.plot, [*_ends(held), best])
            line = {"color": COLORS["floor"], "dash": "dash", "width": 1.5}
            note = {"text": f"floor {best:.1f}", "yanchor": "bottom"}
            panel.plot.add_vline(x=best, line=line, annotation=note)
        panels.append(panel)
    return panels


def _panel(name: str, role: str, bars: Sequence[Bar], *, zero: bool = False) -> Panel:
    """Return a point with its 95 % bar for each system or difference."""
    import plotly.graph_objects as go

    held = [b for b in bars if b[1].low is not None and b[1].high is not None][::-1]
    names = [n.replace("<br>", " ") for n, _ in held]
    texts = [f"{n}: {s.text(sign=zero)}" for n, (_, s) in zip(names, held, strict=True)]
    trace = go.Scatter(
        x=[s.value for _, s in held],
        y=list(range(len(held))),
        mode="markers",
        marker={"size": 10, "color": [_color(n, zero=zero) for n, _ in held]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [s.reach[1] for _, s in held],
            "arrayminus": [s.reach[0] for _, s in held],
            "color": COLORS["floor"],
        },
        hovertext=texts,
        hoverinfo="text",
    )
    unit = "points of mIoU" if zero else "mIoU (%)"
    plot = chart([trace], height=110 + 56 * len(held), x=f"{_role(role)} {unit}")
    plot.update_yaxes(
        tickvals=list(range(len(held))),
        ticktext=[label for label, _ in held],
        range=[-0.6, len(held) - 0.4],
    )
    plot.update_layout(showlegend=False)
    if zero:
        _widen(plot, [*_ends(held), 0.0])
        plot.add_vline(x=0, line={"color": COLORS["floor"], "width": 1.5})
    return Panel(name=name, label=f"{_words(role)}. {'; '.join(texts[::-1])}.", plot=plot)


def _ends(bars: Sequence[Bar]) -> list[float]:
    return [end for _, s in bars for end in (s.low, s.high) if end is not None]


def _widen(plot: Any, values: Sequence[float]) -> None:
    """Show all values, with some room to both sides."""
    low, high = min(values), max(values)
    room = 0.06 * max(high - low, 1.0)
    plot.update_xaxes(range=[low - room, high + room])


def _color(name: str, *, zero: bool) -> str:
    if name.startswith("ID teacher") and not zero:
        return COLORS["id"]
    if name.startswith("OOD teacher") and not zero:
        return COLORS["ood"]
    return COLORS["champion"]


def _who(champions: Mapping[str, int]) -> str:
    """Say which trial is which champion."""
    held = [f"trial {number} is {names}" for number, names in aliases_of(champions).items()]
    return f"{'; '.join(held)}." if held else ""


def search_names(champions: Mapping[str, int], systems: Mapping[str, Any]) -> dict[str, str]:
    """Return the systems of the search's own table in words, a trial with two aliases once."""
    names: dict[str, str] = {}
    for system in (name for name in systems if name != "floors"):
        number = champions.get(system)
        shown = system_words(system) if number is None else f"trial {number}"
        if shown not in names.values():
            names[system] = shown
    return names


def _role(role: str) -> str:
    kind, _, place = role.partition("_")
    return f"{place.upper()} {'validation' if kind == 'val' else kind}"


def _words(role: str) -> str:
    return f"95 % intervals of {_role(role)}"


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
