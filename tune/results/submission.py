"""A champion's answers as the file that a published evaluation reads."""

from __future__ import annotations

from pathlib import Path

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.data.roles import OpenRole
from refkd.errors import RefKDError
from refkd.evaluation.predictions import Frozen
from refkd.evaluation.submission import write_submission
from refkd.training.export import open_student
from tune.study.folders import finalist_folder, trial_folder
from tune.study.snapshot import StudySnapshot, open_snapshot

FORMATS = ("qvhighlights",)
PREFERRED = ("best-balanced", "best-ood", "best-id")
"""The champion that answers is the first of these that there is."""


class Submission(Config):
    """What was written."""

    path: str
    queries: int
    role: str
    alias: str
    trial: int


def champion_student(study: StudySnapshot) -> tuple[str, int, Frozen]:
    """Return alias, trial and student of the champion that answers for a study."""
    alias = next((name for name in PREFERRED if name in study.champions), None)
    if alias is None:
        raise RefKDError(f"{study.path}: has no champion yet; search until a trial is complete")
    number = study.champions[alias]
    folder = trial_folder(study.folder, number)
    if study.finalists is not None:
        folder = finalist_folder(study.folder, number, study.finalists.kept[alias])
    return alias, number, open_student(folder)


def check_export(form: str, path: Path) -> None:
    """Raise `RefKDError` where predictions cannot be written so, or there."""
    if form not in FORMATS:
        raise RefKDError(f"--export {form}: unknown format; give {', '.join(FORMATS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise RefKDError(f"--export {path}: is no file of an existing folder; give another one")


def export_validation(where: Path | str, form: str, path: Path, role: OpenRole) -> Submission:
    """Write what a study's champion answers to the queries of a validation role.

    Nothing sealed is opened. Raises `RefKDError` where there is no champion, or the dataset is
    another one than the search's.
    """
    check_export(form, path)
    study = open_snapshot(where)
    alias, number, frozen = champion_student(study)
    dataset = Dataset.open(study.file.dataset)
    if dataset.fingerprint != study.attributes.get("dataset"):
        raise RefKDError(f"{dataset.path}: is another dataset than the one of the search")
    count = write_submission(path, frozen.backbone(dataset), [dataset.role(role)])
    return Submission(path=str(path), queries=count, role=role, alias=alias, trial=number)
