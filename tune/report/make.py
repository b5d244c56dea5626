"""`refkd report`: gather, draw, write, and send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refkd.errors import RefKDError
from refkd.files import replaced, write_json
from tune.report import curves, front, influence, parallel, probes, rungs, sheets, standing
from tune.report.artefacts import Sent, send
from tune.report.examples import examples
from tune.report.facts import Facts, gather
from tune.report.figure import Figure
from tune.report.page import Content, head_facts, looks_text, plot_data, render
from tune.report.verdict import judge, leakage
from tune.spec.marks import study_marks


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written, and whether MLflow has it."""

    path: Path
    headline: str
    sent: Sent


def report(study: Path | str, *, out: Path | None = None) -> Report:
    """Write the report of a study and send it to the study's MLflow run.

    The study is only read, so a search may be at work. Raises `NoStudyError` where it was not
    begun, `RefKDError` where `out` is a folder.
    """
    facts = gather(study)
    folder = facts.file.folder / "report"
    path = out or folder / "report.html"
    if path.is_dir():
        raise RefKDError(f"{path}: is a folder; name a file, such as {path / 'report.html'}")
    content = compose(facts)
    page = render(content)
    for target in {path.absolute(), folder / "report.html"}:
        with replaced(target) as temporary:
            temporary.write_text(page, encoding="utf-8")
    pictures = _write_pictures(content.figures, folder / "figures")
    sent = send(facts, [folder / "report.html"], pictures)
    return Report(path=path, headline=content.verdict.headline, sent=sent)


def compose(facts: Facts) -> Content:
    """Return everything that the page of a study says."""
    cost_text, cost = sheets.cost(facts)
    return Content(
        study=facts.name,
        state=facts.state,
        facts=head_facts(facts),
        verdict=judge(facts),
        names=study_marks(facts.file),
        marks=leakage(facts),
        looks_text=looks_text(facts),
        looks=sheets.looks(facts),
        figures=_figures(facts),
        examples=examples(facts),
        cost_text=cost_text,
        cost=cost,
        teachers=sheets.teachers(facts),
        origin=[sheets.dataset_card(facts), sheets.provenance(facts)],
        commands=sheets.commands(facts),
    )


def _figures(facts: Facts) -> list[Figure]:
    finalists = standing.finalists_standing(facts)
    chosen = facts.finalists is not None
    return [
        *standing.final_standing(facts),
        *(finalists if chosen else []),
        front.front(facts),
        standing.search_standing(facts),
        *([] if chosen else finalists),
        probes.probes(facts),
        curves.curves(facts),
        parallel.parallel(facts),
        influence.importance(facts),
        influence.slices(facts),
        rungs.pruning(facts),
        curves.reflection(facts),
    ]


def _write_pictures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Write each picture as Plotly's JSON, which `plotly.io.read_json` opens again."""
    paths = []
    for panel in (panel for figure in figures for panel in figure.panels):
        path = folder / f"{panel.name}.json"
        write_json(path, plot_data(panel.plot))
        paths.append(path)
    return paths
