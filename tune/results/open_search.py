"""A search whose lease is held: opened by a launch, by finalists and by the final evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.teacher import Teacher, find_teacher
from tune.config.study_file import StudyFile, load_study_file
from tune.execution.study_jobs import StudyJobs
from tune.study.growth import check_growth
from tune.study.lease import lease
from tune.study.locate import open_study, place_of
from tune.study.search_study import SearchStudy
from tune.study.summary import Summary, summarise


@dataclass(frozen=True, kw_only=True)
class OpenSearch:
    """A search, its data and its jobs; its lease is held."""

    file: StudyFile
    study: SearchStudy
    dataset: Dataset
    jobs: StudyJobs

    @property
    def teachers(self) -> dict[str, Teacher]:
        """The teachers that are trained, by `id` and `ood`."""
        found = {role: find_teacher(path) for role, path in self.jobs.teacher_folders.items()}
        return {role: teacher for role, teacher in found.items() if teacher is not None}

    def summary(self) -> Summary:
        """Return what the search has found."""
        attributes = dict(self.study.optuna.user_attrs)
        return summarise(self.file.name, self.study.views(), attributes)


def bind_search(study: SearchStudy, dataset: Dataset) -> OpenSearch:
    """Hold a study to what its earlier trials were made with; `RefKDError` where it differs."""
    file, launches = study.file, study.launches.all()
    jobs = StudyJobs(file, dataset, teacher_epochs=launches[0].epochs if launches else None)
    study.bind("objectives", file.objectives)
    study.bind("dataset", dataset.fingerprint)
    study.bind("teachers", {role: path.name for role, path in jobs.teacher_folders.items()})
    study.bind("seed", file.seed)
    return OpenSearch(file=file, study=study, dataset=dataset, jobs=jobs)


@contextmanager
def open_ended_search(path: StudyFile | Path | str) -> Iterator[OpenSearch]:
    """Open a search that has ended and hold its lease while the body runs.

    Raises `NoStudyError` where it was not begun, `LeaseError` where a driver is at work,
    `RefKDError` where trials are left or no trial counts, and what `refkd search` would raise
    where the file, the dataset or the teachers are not those of the search.
    """
    file = path if isinstance(path, StudyFile) else load_study_file(path)
    place = place_of(file)
    open_study(place)
    with lease(place.storage, file.name, objectives=len(file.objectives)):
        dataset = Dataset.open(file.dataset)
        study = SearchStudy(file, place.storage)
        launches, left, epochs = study.launches.all(), study.left(), file.training.epochs
        check_growth(file, launches)
        if not launches or left or launches[-1].epochs != epochs:
            raise RefKDError(
                f"study {file.name!r} has not ended: {left} of {file.budget.trials} trials of "
                f"{epochs} epochs are left or shorter; run `refkd search` first"
            )
        search = bind_search(study, dataset)
        for role, folder in search.jobs.teacher_folders.items():
            if role not in search.teachers:
                raise RefKDError(
                    f"{folder}: the {role} teacher is gone; restore the folder, or run `refkd "
                    "search` to train it again"
                )
        if not search.summary().champions:
            raise RefKDError(
                f"study {file.name!r} has no complete trial that keeps its constraints; "
                "`refkd status` shows what became of its trials"
            )
        yield search
