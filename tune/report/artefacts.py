"""The report on the study's MLflow run, sent beside a driver who may be at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tune.study.snapshot import StudySnapshot
from tune.study.stored_study import identity_of
from tune.tracking.delivery import REFUSED, Listed
from tune.tracking.operations import STUDY_RUN
from tune.tracking.projection import kept_file
from tune.tracking.target import client_settings, target_of

FOLDER = "report"
"""Of the study's run, in MLflow."""
SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of the report's files on their way to MLflow."""

    ok: bool
    words: str


def send(study: StudySnapshot, pages: Sequence[Path], pictures: Sequence[Path]) -> Sent:
    """Send the page and its pictures; what the server does not take now is sent the next time.

    What it has of them is noted apart from what it has of the study, which its driver notes.
    """
    file = study.file
    if not file.tracking.enabled:
        return Sent(ok=True, words="MLflow is switched off in the study file; nothing was sent")
    identity = identity_of(study.attributes)
    known = None if identity is None else target_of(file, identity)
    if known is None:
        return Sent(ok=True, words="the search has no run in MLflow yet; nothing was sent")
    target = replace(known, folder=file.folder / FOLDER / "tracking")
    files = [
        *(kept_file(STUDY_RUN, path, FOLDER, at=path.stat().st_mtime) for path in pages),
        *(
            kept_file(STUDY_RUN, path, f"{FOLDER}/figures", at=path.stat().st_mtime)
            for path in pictures
        ),
    ]
    with client_settings():
        done = target.delivery(lambda: Listed(files)).close(SECONDS)
    if done.left or done.rejected:
        why = done.problem or f"see {target.folder / REFUSED}"
        return Sent(
            ok=False,
            words=f"{done.left + done.rejected} of {len(files)} files did not reach MLflow "
            f"({why}); the next `refkd report` sends them",
        )
    return Sent(ok=True, words=f"sent to MLflow, experiment {target.experiment}, {FOLDER}/")
