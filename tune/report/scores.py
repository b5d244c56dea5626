"""Scores of champions and teachers with intervals, paired differences, and bias probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refkd.evaluation.comparison import Figure as Score
from tune.display.comparison import METRICS, best_floor, difference_rows, floor_rows, system_words
from tune.display.console import aliases_of, plural, score
from tune.report import draw
from tune.report.figure import Panel, Section, Table, capitalised
from tune.results.comparison import system_name
from tune.results.probe_rows import KINDS, MEANING, PROBE_HEADS, SIDES, place_rows, probe_row
from tune.study.outcomes import Comparison
from tune.study.snapshot import StudySnapshot

_SEED_METRICS = ("val_id/miou", "val_ood/miou", "val/harmonic_miou")
_PROBE_COLORS = ("#2f80b7", "#c2922b", "#8a63d2", "#8c8c8c")


def search_comparison(study: StudySnapshot) -> Comparison:
    """Return what the search has scored of its champions and teachers; empty before it ended."""
    champions, summary = study.scored_champions, study.summary

    def named(systems: Mapping[str, Any]) -> dict[str, Any]:
        names = {n: system_name(champions[n]) if n in champions else n for n in systems}
        return {names[n]: held for n, held in systems.items() if n != "floors"}

    return Comparison(
        pairs={},
        scores={role: named(systems) for role, systems in summary.intervals.items()},
        differences={},
        gaps={},
        floors={role: held.get("floors", {}) for role, held in summary.intervals.items()},
        probes=named(summary.probes),
    )


def search_scores(study: StudySnapshot) -> list[Section]:
    """Return the search's own champions beside the teachers, unpaired."""
    key, title = "search-scores", "Champions of the search"
    found = search_comparison(study)
    if not found.scores:
        text = "No intervals yet: they are made when the search ends with a complete trial."
        return [Section(key=key, title=title, text=text)]
    text = (
        f"{_champions(study.scored_champions)} Chosen for being the best on the search's seeds, "
        "so these scores flatter them."
    )
    return _scores(key, title, text, found, metrics=("miou", "r1_iou0.5"))


def finalist_scores(study: StudySnapshot) -> list[Section]:
    """Return the finalists' scores and differences on validation."""
    key, title = "finalists", "Finalists"
    found = study.finalists
    if found is None:
        text = (
            "No finalists yet. `refkd finalists` trains the best trials again on fresh seeds; "
            "only then can a champion be compared with its teachers."
        )
        return [Section(key=key, title=title, text=text)]
    names = aliases_of(found.champions)
    rows = []
    for row in found.finalists:
        for run in row.runs:
            state = f"failed: {run.failed}" if run.failed else names.get(row.trial, "")
            cells = [score(run.metrics, metric) for metric in _SEED_METRICS]
            rows.append([str(row.trial), state, str(run.seed), *cells])
    each = Table(heads=["trial", "", "seed", "ID mIoU", "OOD mIoU", "harmonic"], rows=rows)
    text = (
        f"{plural(len(found.finalists), 'trial')}, each trained from "
        f"{found.seeds_text}, which the search never used; validation. "
        f"{_champions(found.champions)}"
    )
    return _scores(key, title, text, found.comparison, more=[each])


def final_scores(study: StudySnapshot) -> list[Section]:
    """Return the scores on the test roles; empty where they were not opened."""
    key, title, report = "final", "Final evaluation", study.final
    if report is None:
        return []
    text = (
        f"The sealed test roles: {report.look.title}. Features: {report.features}. "
        f"{_champions(report.look.trials)}"
    )
    return _scores(key, title, text, report.comparison)


def _champions(champions: Mapping[str, int]) -> str:
    """Say which trial is which champion."""
    held = [f"trial {number} is {names}" for number, names in aliases_of(champions).items()]
    return f"{capitalised('; '.join(held))}." if held else ""


def _scores(
    key: str,
    title: str,
    text: str,
    comparison: Comparison,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    more: Sequence[Table] = (),
) -> list[Section]:
    """Return every score with its interval and spread, gaps and floors, then the differences."""
    panels, rows, floors = [], list[list[str]](), list[list[str]]()
    for role, systems in comparison.scores.items():
        of_role = comparison.floors.get(role, {})
        held = {system_words(name): row["miou"] for name, row in systems.items()}
        floor = best_floor(of_role)
        panels.append(_panel(key, role, held, floor and floor[1]))
        for name, row in systems.items():
            cells = [row[metric].text(spread=True) for metric in metrics]
            rows.append([role, system_words(name), *cells])
        floors += [[role, *cells] for cells in floor_rows(of_role, metrics)]
    for name, gap in comparison.gaps.items():
        empty = [""] * (len(metrics) - 1)
        rows.append(["ID − OOD gap", system_words(name), gap.text(sign=True), *empty])
    heads = [METRICS[metric] for metric in metrics]
    tables = [
        *more,
        Table(heads=["role", "system", *heads], rows=rows),
        Table(heads=["role", "bias floor", *heads], rows=floors),
    ]
    scores = Section(key=key, title=title, text=text, panels=panels, tables=tables)
    return [scores, _differences(key, title, comparison)] if comparison.differences else [scores]


def _differences(key: str, title: str, comparison: Comparison) -> Section:
    panels = []
    for role, students in comparison.differences.items():
        held = {
            f"{system_words(student)}<br>− {system_words(teacher)}": row["miou"]
            for student, teachers in students.items()
            for teacher, row in teachers.items()
        }
        panels.append(_panel(f"{key}-difference", role, held, 0.0, sign=True))
    heads, *rows = difference_rows(comparison)
    return Section(
        key=f"{key}-differences",
        title=f"{title}: student − teacher",
        text="Paired over the same queries, in points of mIoU. Where an interval holds 0, no "
        "difference can be told.",
        panels=panels,
        tables=[Table(heads=heads, rows=rows)],
    )


def _panel(
    name: str, role: str, scores: Mapping[str, Score], line: float | None, *, sign: bool = False
) -> Panel:
    """Return a point with its 95 % bar for each score by its name, and a line to compare with.

    With `sign` they are differences, and the line is at 0; else it is the best bias floor.
    """
    held = {name: s for name, s in reversed(list(scores.items())) if s.low is not None}
    texts = [f"{name.replace('<br>', ' ')}: {s.text(sign=sign)}" for name, s in held.items()]
    colors = {"ID teacher": draw.COLORS["id"], "OOD teacher": draw.COLORS["ood"]}
    trace = draw.scatter(
        [(s.value, place, texts[place]) for place, s in enumerate(held.values())],
        "",
        mode="markers",
        marker={"size": 10, "color": [colors.get(name, draw.COLORS["champion"]) for name in held]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [s.reach[1] for s in held.values()],
            "arrayminus": [s.reach[0] for s in held.values()],
            "color": draw.COLORS["floor"],
        },
    )
    unit = "points of mIoU" if sign else "mIoU (%)"
    plot = draw.chart([trace], height=110 + 56 * len(held), x=f"{_role(role)} {unit}")
    places, ends = list(range(len(held))), [-0.6, len(held) - 0.4]
    plot.update_yaxes(tickvals=places, ticktext=list(held), range=ends)
    plot.update_layout(showlegend=False)
    if line is not None:
        known = [end for s in held.values() for end in (s.low, s.high) if end is not None]
        plot.update_xaxes(range=draw.padded([line, *known], 0.06, 0.06))
        note = None if sign else {"text": f"floor {line:.1f}", "yanchor": "bottom"}
        style = {"color": draw.COLORS["floor"], "dash": "solid" if sign else "dash", "width": 1.5}
        plot.add_vline(x=line, line=style, annotation=note)
    label = f"95 % intervals of {_role(role)}. {'; '.join(reversed(texts))}."
    return Panel(name=f"{name}-{role.replace('_', '-')}", label=label, plot=plot)


def _role(role: str) -> str:
    kind, _, place = role.partition("_")
    return f"{place.upper()} {'validation' if kind == 'val' else kind}"


def probes(study: StudySnapshot) -> Section:
    """Return the probes of the strongest evidence there is: test, finalists, or the search."""
    key, title = "probes", "Bias probes"
    found, where = search_comparison(study), "On validation"
    if study.finalists is not None and study.finalists.comparison.probes:
        found, where = study.finalists.comparison, "On validation, of the first fresh seed"
    if study.final is not None and study.final.comparison.probes:
        found, where = study.final.comparison, "On the sealed test roles"
    if not found.probes:
        text = "No probes yet: they are made when the search ends with a complete trial."
        return Section(key=key, title=title, text=text)
    systems = {system_words(name): held.model_dump() for name, held in found.probes.items()}
    rows = [[name, *probe_row(held)] for name, held in systems.items()]
    places = [[name, *row] for name, held in systems.items() for row in place_rows(held)]
    heads = ["system", "", "moment starts in", "and ends in", "pairs", "mIoU", "R1@0.5"]
    return Section(
        key=key,
        title=title,
        text=f"{where}. {MEANING} Below: the scores by the place of the moment in its video.",
        panels=[_probe_panel(side, systems) for side in SIDES],
        tables=[Table(heads=["system", *PROBE_HEADS], rows=rows), Table(heads=heads, rows=places)],
    )


def _probe_panel(side: str, systems: Mapping[str, Mapping[str, Any]]) -> Panel:
    traces = [
        draw.bars({n: held[side][kind]["miou"] for n, held in systems.items()}, words, color)
        for (words, kind), color in zip(KINDS.items(), _PROBE_COLORS, strict=True)
    ]
    plot = draw.chart(traces, height=140 + 80 * len(systems), x=f"{side.upper()} mIoU")
    plot.update_layout(barmode="group")
    plot.update_yaxes(autorange="reversed")
    label = f"{side.upper()} mIoU of each system: its own, and without query, video or order"
    return Panel(name=f"probes-{side}", label=label, plot=plot)
