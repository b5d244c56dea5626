"""`refkd report`: what a study says as one HTML file that needs no network, sent to MLflow too."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from refkd.errors import RefKDError
from refkd.files import write_json, write_text
from tune.audit.examine import verify_results
from tune.display.comparison import CONVENTION
from tune.display.console import plural
from tune.report import curves, scores, tables, values
from tune.report.examples import Examples, examples
from tune.report.figure import Section, Table, when
from tune.report.front import front
from tune.report.headline import Headline, caveats_of_test, headline
from tune.report.parallel import parallel
from tune.study.home import elsewhere
from tune.study.snapshot import StudySnapshot, open_snapshot
from tune.study.stored_study import identity_of
from tune.tracking.delivery import send
from tune.tracking.operations import STUDY_RUN, kept_file
from tune.tracking.target import target_of

FOLDER = "report"
"""Of the study's own folder, and of its run in MLflow."""
SECONDS = 30.0
"""How long the files may take to MLflow."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written."""

    path: Path
    headline: str
    sent: bool
    """False where files did not reach MLflow."""
    mlflow: str
    """What became of the files on their way to MLflow, in words."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that stands on the page, in words and figures."""

    study: str
    state: str
    """How far it has come, as `StudyState` has it."""
    facts: list[str]
    """Short facts below the title."""
    headline: Headline
    caveats: list[str]
    """Why its systems are not what their names say: leakage, reconstructions."""
    health: list[str]
    """What is wrong with the search, and what to do about it."""
    test_caveats: list[str]
    """Reasons to trust a test result less."""
    test_evaluations_text: str
    test_evaluations: Table | None
    figures: Sequence[Section]
    examples: Examples
    cost_text: str
    cost: Table | None
    teachers: Table
    origin: Sequence[Table]
    commands: Mapping[str, str]
    """What to type next, by its purpose."""


def report(where: Path | str, *, out: Path | None = None) -> Report:
    """Write the report of a study and send it to the study's MLflow run.

    `where` is as for `open_snapshot`. The study is only read, so a search may be at work. Raises
    `NoStudyError` where it was not begun, `RefKDError` where `out` is a folder, or where what it
    would show is not what the study has found.
    """
    study = open_snapshot(where)
    folder = study.folder / FOLDER
    kept = folder / "report.html"
    path = out or kept
    if path.is_dir():
        raise RefKDError(f"{path}: is a folder; name a file, such as {path / 'report.html'}")
    verify_results(study)
    content = compose(study)
    page = render(content)
    try:
        write_text(path, page)
    except OSError as error:
        raise RefKDError(
            f"{path}: cannot be written ({error.strerror}); name another: --out"
        ) from None
    pictures = {folder / "figures" / f"{k}.json": plot for k, plot in _plots(content).items()}
    try:
        write_text(kept, page)
        for picture, plot in pictures.items():
            write_json(picture, plot)  # `plotly.io.read_json` opens it again
        sent, mlflow = _send(study, kept, list(pictures))
    except OSError as error:  # of a study that this user may only look at
        sent, mlflow = False, f"nothing was sent, since {folder}: {error.strerror}"
    return Report(path=path, headline=content.headline.text, sent=sent, mlflow=mlflow)


def compose(study: StudySnapshot) -> Content:
    """Return everything that the page of a study says, the strongest evidence first."""
    cost_text, cost = tables.cost(study)
    finalists, chosen = scores.finalist_scores(study), study.finalists is not None
    return Content(
        study=study.name,
        state=study.state,
        facts=_head_facts(study),
        headline=headline(study),
        caveats=study.file.caveats(),
        health=[str(finding) for finding in study.summary.health],
        test_caveats=caveats_of_test(study),
        test_evaluations_text=_ledger_text(study),
        test_evaluations=tables.test_evaluations(study),
        figures=[
            *scores.final_scores(study),
            *(finalists if chosen else []),
            front(study),
            *scores.search_scores(study),
            *([] if chosen else finalists),
            scores.probes(study),
            curves.curves(study),
            parallel(study),
            values.importance(study),
            values.slices(study),
            curves.pruning(study),
            curves.reflection(study),
        ],
        examples=examples(study),
        cost_text=cost_text,
        cost=cost,
        teachers=tables.teachers(study),
        origin=[tables.dataset_card(study), tables.provenance(study)],
        commands=tables.commands(study),
    )


def _head_facts(study: StudySnapshot) -> list[str]:
    facts = []
    if study.launches:
        ends = [stamp.time for trial in study.trials for stamp in trial.stamps.values()]
        facts.append(f"begun {when(study.launches[0].begun)}")
        facts.append(f"search last active {when(max([study.launches[-1].last, *ends]))}")
    facts.append(f"{study.summary.ended} of {plural(study.summary.wanted, 'trial')} ended")
    if study.summary.stopped:
        facts.append(study.summary.stopped)
    if study.driver is not None:
        facts.append(f"{study.count('RUNNING')} at work now: {study.driver}")
    return [*facts, f"report made {when(time.time())}"]


def _ledger_text(study: StudySnapshot) -> str:
    if study.ledger_fault is not None:
        return "The ledger of looks at the test roles cannot be read."
    text = "Nobody has looked at the test roles: the ledger is empty."
    if absent := tables.no_test(study):
        text = f"The dataset has {absent}, so nobody can look at the test roles."
    if study.looks:
        times = "once" if len(study.looks) == 1 else f"{len(study.looks)} times"
        text = f"The test roles were looked at {times}."
    if (begun := study.look_begun) is not None:
        text += (
            f" Look {begun.look} was begun at {begun.time} and cut off before anything was shown; "
            f"`refkd evaluate --final {study.path}` takes it again."
        )
    return text


def render(content: Content) -> str:
    """Return the page; whatever comes from a user is escaped."""
    pages = Environment(
        loader=PackageLoader("tune"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"code": _code, "kind": _kind}
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    convention = (
        f"{CONVENTION} ID: like the training data; OOD: moments lie elsewhere than in training."
    )
    plotly = Markup(get_plotlyjs())
    page = pages.get_template("report.html")
    return page.render(
        content=content, convention=convention, plotly=plotly, plots=_plots(content)
    )


def _plots(content: Content) -> dict[str, Any]:
    """Return every plot by its name as plain JSON data, without a theme."""
    panels = [panel for figure in content.figures for panel in figure.panels]
    plots = {panel.name: json.loads(panel.plot.to_json()) for panel in panels}
    for plot in plots.values():
        plot["layout"].pop("template", None)
    return plots


def _code(text: str) -> Markup:
    """Return a sentence as HTML, what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _kind(cell: str) -> str:
    """Return the class of a table's cell: `n` a number, with or without its interval, `w` words.

    >>> _kind("+1.20 [+0.30, +2.00]"), _kind("best-id"), _kind("a long reason " * 3)
    ('n', '', 'w')
    """
    if re.fullmatch(r"[+-]?[\d,]+(\.\d+)?(e[+-]?\d+)?( [\[±].*)?", cell):
        return "n"
    return "w" if len(cell) > 36 else ""


def _send(study: StudySnapshot, page: Path, pictures: Sequence[Path]) -> tuple[bool, str]:
    """Send the page and its pictures; what the server does not take now is sent the next time.

    What it has of them is noted apart from what it has of the study, which its driver notes.
    """
    file = study.file
    if not file.tracking.enabled:
        return True, "MLflow is switched off in the study file; nothing was sent"
    if (found := elsewhere(file, study.attributes)) is not None and found.is_double:
        return True, f"nothing was sent: {found.here} is a copy of {found.folder}"
    known = target_of(file, identity_of(study.attributes))
    if known is None:
        return True, "the search has no run in MLflow yet; nothing was sent"
    target = replace(known, folder=file.folder / FOLDER / "tracking")
    folders = {page: FOLDER, **dict.fromkeys(pictures, f"{FOLDER}/figures")}
    files = [
        kept_file(STUDY_RUN, path, folder, at=path.stat().st_mtime)
        for path, folder in folders.items()
    ]
    done = send(target, files, SECONDS)
    if done.left or done.refused:
        why = done.problem or f"see {target.refused}"
        return False, (
            f"{done.left + done.refused} of {len(files)} files did not reach MLflow ({why}); the "
            "next `refkd report` sends them"
        )
    return True, f"sent to MLflow, experiment {target.experiment}, {FOLDER}/"
