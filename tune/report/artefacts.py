"""The report on the study's MLflow run, by a spool of its own.

The search's spool has one writer, its driver, which may be at work at this moment. So the report
keeps its events in another folder under the same identity: the runs are then the same ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tune.study.snapshot import StudySnapshot
from tune.tracking.record import artifact_root, experiment_name, spool_folder, tracking_uri
from tune.tracking.spool import STUDY_RUN
from tune.tracking.tracker import Tracker

FOLDER = "report"
"""Of the study's run, in MLflow."""
IDENTITY = "identity"
SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of the report's files on their way to MLflow."""

    ok: bool
    words: str


def send(study: StudySnapshot, pages: Sequence[Path], pictures: Sequence[Path]) -> Sent:
    """Send the page and its pictures; what the server does not take now is sent the next time."""
    file = study.file
    uri = tracking_uri(file)
    if uri is None:
        return Sent(ok=True, words="MLflow is switched off in the study file; nothing was sent")
    known = spool_folder(file) / IDENTITY
    if not known.is_file():
        return Sent(ok=True, words="the search has no run in MLflow yet; nothing was sent")
    own = file.folder / FOLDER / "spool"
    own.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(known, own / IDENTITY)
    tracker = Tracker(
        uri, experiment_name(file), own, study=file.name, artifact_root=artifact_root(file)
    )
    for path in pages:
        tracker.artifact(STUDY_RUN, path, FOLDER)
    for path in pictures:
        tracker.artifact(STUDY_RUN, path, f"{FOLDER}/figures")
    delivery = tracker.close(SECONDS)
    if delivery.left or delivery.rejected:
        why = delivery.problem or f"see {own / 'rejected.jsonl'}"
        return Sent(
            ok=False,
            words=f"{delivery.left + delivery.rejected} of {len(pages) + len(pictures)} files did "
            f"not reach MLflow ({why}); the next `refkd report` sends them",
        )
    return Sent(ok=True, words=f"sent to MLflow, experiment {experiment_name(file)}, {FOLDER}/")
