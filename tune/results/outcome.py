"""A search that has ended, opened by whoever goes on from what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.teacher import Teacher, find_teacher
from tune.config.study_file import StudyFile, load_study_file
from tune.execution.study_jobs import StudyJobs, study_jobs
from tune.study.growth import check_growth
from tune.study.lease import lease
from tune.study.locate import open_study, place_of
from tune.study.search_study import SearchStudy
from tune.study.summary import Summary, summarise


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search has left; its lease is held."""

    file: StudyFile
    study: SearchStudy
    dataset: Dataset
    jobs: StudyJobs
    teachers: dict[str, Teacher]
    """By `id` and `ood`."""

    def summary(self) -> Summary:
        """Return what the search has found."""
        attributes = dict(self.study.optuna.user_attrs)
        return summarise(self.file.name, self.study.views(), attributes)


@contextmanager
def outcome_of(study: StudyFile | Path | str) -> Iterator[Outcome]:
    """Open a search that has ended and hold its lease while the body runs.

    Raises `NoStudyError` where it was not begun, `LeaseError` where a driver is at work,
    `RefKDError` where trials are left or no trial counts, and what `refkd search` would raise
    where the file, the dataset or the teachers are not those of the search.
    """
    file = study if isinstance(study, StudyFile) else load_study_file(study)
    place = place_of(file)
    open_study(place)
    with lease(place.storage, file.name, objectives=len(file.objectives)):
        yield _open(file, place.storage)


def _open(file: StudyFile, url: str) -> Outcome:
    dataset = Dataset.open(file.dataset)
    study = SearchStudy(file, url)
    check_growth(file, study.launches.all())
    launches = study.launches.all()
    if not launches or study.left() or launches[-1].epochs != file.training.epochs:
        raise RefKDError(
            f"study {file.name!r} has not ended: {study.left()} of {file.budget.trials} trials of "
            f"{file.training.epochs} epochs are left or shorter; run `refkd search` first"
        )
    jobs = study_jobs(file, dataset, teacher_epochs=launches[0].epochs)
    study.bind("dataset", dataset.fingerprint)
    study.bind("teachers", {role: path.name for role, path in jobs.teacher_folders.items()})
    study.bind("seed", file.seed)
    teachers = {role: _teacher(role, path) for role, path in jobs.teacher_folders.items()}
    outcome = Outcome(file=file, study=study, dataset=dataset, jobs=jobs, teachers=teachers)
    if not outcome.summary().champions:
        raise RefKDError(
            f"study {file.name!r} has no complete trial that keeps its constraints; `refkd "
            "status` shows what became of its trials"
        )
    return outcome


def _teacher(role: str, path: Path) -> Teacher:
    teacher = find_teacher(path)
    if teacher is None:
        raise RefKDError(
            f"{path}: the {role} teacher is gone; restore the folder, or run `refkd search` to "
            "train it again"
        )
    return teacher
