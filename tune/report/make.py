"""`refkd report`: gather, draw, write, and send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refkd.errors import RefKDError
from refkd.files import replaced, write_json
from tune.report import curves, front, influence, parallel, probes, rungs, scores, tables
from tune.report.artefacts import Sent, send
from tune.report.examples import examples
from tune.report.figure import Section
from tune.report.page import Content, head_facts, looks_text, plot_data, render
from tune.report.verdict import judge, leakage
from tune.study.snapshot import StudySnapshot, open_snapshot


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written, and whether MLflow has it."""

    path: Path
    headline: str
    sent: Sent


def report(where: Path | str, *, out: Path | None = None) -> Report:
    """Write the report of a study and send it to the study's MLflow run.

    `where` is as for `open_snapshot`.

    The study is only read, so a search may be at work. Raises `NoStudyError` where it was not
    begun, `RefKDError` where `out` is a folder.
    """
    study = open_snapshot(where)
    folder = study.folder / "report"
    path = out or folder / "report.html"
    if path.is_dir():
        raise RefKDError(f"{path}: is a folder; name a file, such as {path / 'report.html'}")
    content = compose(study)
    page = render(content)
    for target in {path.absolute(), folder / "report.html"}:
        with replaced(target) as temporary:
            temporary.write_text(page, encoding="utf-8")
    pictures = _write_pictures(content.figures, folder / "figures")
    sent = send(study, [folder / "report.html"], pictures)
    return Report(path=path, headline=content.verdict.headline, sent=sent)


def compose(study: StudySnapshot) -> Content:
    """Return everything that the page of a study says."""
    cost_text, cost = tables.cost(study)
    return Content(
        study=study.name,
        state=study.state,
        facts=head_facts(study),
        verdict=judge(study),
        names=study.file.caveats(),
        marks=leakage(study),
        looks_text=looks_text(study),
        looks=tables.looks(study),
        figures=_figures(study),
        examples=examples(study),
        cost_text=cost_text,
        cost=cost,
        teachers=tables.teachers(study),
        origin=[tables.dataset_card(study), tables.provenance(study)],
        commands=tables.commands(study),
    )


def _figures(study: StudySnapshot) -> list[Section]:
    finalists = scores.finalists_standing(study)
    chosen = study.finalists is not None
    return [
        *scores.final_standing(study),
        *(finalists if chosen else []),
        front.front(study),
        scores.search_standing(study),
        *([] if chosen else finalists),
        probes.probes(study),
        curves.curves(study),
        parallel.parallel(study),
        influence.importance(study),
        influence.slices(study),
        rungs.pruning(study),
        curves.reflection(study),
    ]


def _write_pictures(figures: Sequence[Section], folder: Path) -> list[Path]:
    """Write each picture as Plotly's JSON, which `plotly.io.read_json` opens again."""
    paths = []
    for panel in (panel for figure in figures for panel in figure.panels):
        path = folder / f"{panel.name}.json"
        write_json(path, plot_data(panel.plot))
        paths.append(path)
    return paths
