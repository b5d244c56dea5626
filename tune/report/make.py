"""`refkd report`: gather, draw, write, and send to MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from refkd.errors import RefKDError
from refkd.files import replaced, write_json
from tune.report import curves, influence, scores, tables
from tune.report.examples import examples
from tune.report.front import front
from tune.report.headline import caveats_of_test, headline
from tune.report.page import Content, head_facts, ledger_text, plot_data, render
from tune.report.parallel import parallel
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


def report(where: Path | str, *, out: Path | None = None) -> Report:
    """Write the report of a study and send it to the study's MLflow run.

    `where` is as for `open_snapshot`.

    The study is only read, so a search may be at work. Raises `NoStudyError` where it was not
    begun, `RefKDError` where `out` is a folder.
    """
    study = open_snapshot(where)
    folder = study.folder / FOLDER
    kept = folder / "report.html"
    path = out or kept
    if path.is_dir():
        raise RefKDError(f"{path}: is a folder; name a file, such as {path / 'report.html'}")
    content = compose(study)
    page = render(content)
    for target in {path.absolute(), kept}:
        with replaced(target) as temporary:
            temporary.write_text(page, encoding="utf-8")
    pictures = []
    for panel in (panel for figure in content.figures for panel in figure.panels):
        # `plotly.io.read_json` opens it again.
        picture = folder / "figures" / f"{panel.name}.json"
        write_json(picture, plot_data(panel.plot))
        pictures.append(picture)
    sent, mlflow = _send(study, kept, pictures)
    return Report(path=path, headline=content.headline.text, sent=sent, mlflow=mlflow)


def compose(study: StudySnapshot) -> Content:
    """Return everything that the page of a study says, the strongest evidence first."""
    cost_text, cost = tables.cost(study)
    finalists, chosen = scores.finalist_scores(study), study.finalists is not None
    return Content(
        study=study.name,
        state=study.state,
        facts=head_facts(study),
        headline=headline(study),
        caveats=study.file.caveats(),
        test_caveats=caveats_of_test(study),
        test_evaluations_text=ledger_text(study),
        test_evaluations=tables.test_evaluations(study),
        figures=[
            *scores.final_scores(study),
            *(finalists if chosen else []),
            front(study),
            scores.search_scores(study),
            *([] if chosen else finalists),
            scores.probes(study),
            curves.curves(study),
            parallel(study),
            influence.importance(study),
            influence.slices(study),
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


def _send(study: StudySnapshot, page: Path, pictures: Sequence[Path]) -> tuple[bool, str]:
    """Send the page and its pictures; what the server does not take now is sent the next time.

    What it has of them is noted apart from what it has of the study, which its driver notes.
    """
    file = study.file
    if not file.tracking.enabled:
        return True, "MLflow is switched off in the study file; nothing was sent"
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
