"""Bias probes of champions and teachers: what is left without query, video or order of clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune.report.figure import Panel, Section, Table, chart
from tune.report.score_tables import system_words
from tune.report.scores import search_names
from tune.results.probe_rows import KINDS, MEANING, PROBE_HEADS, SIDES, place_rows, probe_row
from tune.study.snapshot import StudySnapshot

_COLORS = ("#2f80b7", "#c2922b", "#8a63d2", "#8c8c8c")
Found = Mapping[str, Mapping[str, Any]]
"""`refkd.evaluation.probes.Probes` by system, dumped."""


def probes(study: StudySnapshot) -> Section:
    """Return the probes of the strongest evidence there is: test, finalists, or the search."""
    key, title = "probes", "Bias probes"
    found, where = _strongest(study)
    if not found:
        text = "No probes yet: they are made when the search ends with a complete trial."
        return Section(key=key, title=title, text=text)
    places = [[name, *row] for name, held in found.items() for row in place_rows(held)]
    heads = ["system", "", "moment starts in", "and ends in", "pairs", "mIoU", "R1@0.5"]
    return Section(
        key=key,
        title=title,
        text=f"{where}. {MEANING} Below: the scores by the place of the moment in its video.",
        panels=[_panel(side, found) for side in SIDES],
        tables=[
            Table(
                heads=["system", *PROBE_HEADS],
                rows=[[name, *probe_row(held)] for name, held in found.items()],
            ),
            Table(heads=heads, rows=places),
        ],
    )


def _strongest(study: StudySnapshot) -> tuple[Found, str]:
    for report, where in (
        (study.final, "On the sealed test roles"),
        (study.finalists, "On validation, of the first fresh seed"),
    ):
        if report is not None and report.comparison.probes:
            dumped = {
                system_words(name): held.model_dump()
                for name, held in report.comparison.probes.items()
            }
            return dumped, where
    held = study.summary.probes
    names = search_names(study.scored_champions, held)
    return {shown: held[name] for name, shown in names.items()}, "On validation"


def _panel(side: str, found: Found) -> Panel:
    import plotly.graph_objects as go

    bars = [
        go.Bar(
            y=list(found),
            x=[held[side][name]["miou"] for held in found.values()],
            name=words,
            orientation="h",
            marker={"color": color},
        )
        for (words, name), color in zip(KINDS.items(), _COLORS, strict=True)
    ]
    plot = chart(bars, height=140 + 80 * len(found), x=f"{side.upper()} mIoU")
    plot.update_layout(barmode="group")
    plot.update_yaxes(autorange="reversed")
    return Panel(
        name=f"probes-{side}",
        label=f"{side.upper()} mIoU of each system: its own, and without query, video or order",
        plot=plot,
    )
