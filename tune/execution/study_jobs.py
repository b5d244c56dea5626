"""A search whose lease is held, and its networks as jobs: teachers, trials and finalists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from refkd.data.dataset import Dataset
from refkd.data.roles import OpenRole
from refkd.errors import RefKDError
from refkd.training.export import record_hash, student_is_frozen
from refkd.training.teacher import AnyTeacher, find_teacher
from tune.config.metrics import MEANS
from tune.config.space import Values
from tune.config.study_file import StudyFile, load_study_file
from tune.execution.imports import TeacherImport, check_apart, check_same, import_missing
from tune.execution.jobs import JobEnd, TrainingJob, Workplace, teacher_job
from tune.execution.progress import Reporter
from tune.study.folders import seed_folder, trial_folder
from tune.study.growth import check_growth
from tune.study.home import check_own
from tune.study.lease import lease
from tune.study.locate import place_of
from tune.study.opening import open_study
from tune.study.request import TrialRequest
from tune.study.search_study import SearchStudy
from tune.study.summary import Summary, summarise
from tune.study.view import FOREIGN


class StudyJobs:
    """The jobs of a study; `teacher_epochs` are those that it began with, else the file's."""

    def __init__(
        self, file: StudyFile, dataset: Dataset, *, teacher_epochs: int | None = None
    ) -> None:
        self.file = file
        self.place = workplace(file, dataset)
        configs = {r: file.teacher_config(r, epochs=teacher_epochs) for r in file.trained_roles}
        self.teachers = {
            role: teacher_job(role, config, dataset, file.workspace)
            for role, config in configs.items()
        }
        """Those that are trained, by `id` and `ood`."""
        self.imports = {
            role: TeacherImport.of(role, path, dataset, file.workspace)
            for role, path in file.imported.items()
        }
        """Those that are imported."""
        self.teacher_folders = {
            **{role: job.folder for role, job in self.teachers.items()},
            **{role: one.folder for role, one in self.imports.items()},
        }
        check_apart(self.imports)

    def students(
        self, key: str, folder: Path, values: Values, seeds: Sequence[int], **more: Any
    ) -> TrainingJob:
        """Return the job of students with some values, one a seed.

        Raises pydantic's `ValidationError` for values that no student has together.
        """
        return TrainingJob(
            key=key,
            folder=folder,
            networks=[self.file.student_config(values, seed=seed) for seed in seeds],
            teachers=self.teacher_folders,
            **more,
        )

    def trial(self, ask: TrialRequest) -> TrainingJob:
        """Return the job of a trial; its key is the trial's number."""
        source = None if ask.continues is None else trial_folder(self.file.folder, ask.continues)
        return self.students(
            str(ask.number),
            trial_folder(self.file.folder, ask.number),
            ask.values,
            self.file.seeds(ask.repeats),
            race=self.file.replicates.race,
            continues=source,
            inherited=ask.inherited,
            scored=scored_roles(self.file),
        )


def scored_roles(file: StudyFile) -> list[OpenRole]:
    """Return the roles whose pairs trials race by; none where they do not."""
    if file.pruning.name != "paired_racing":
        return []
    return sorted({role for name in file.objectives for role in MEANS.get(name, ())})


def workplace(file: StudyFile, dataset: Dataset) -> Workplace:
    """Return where the jobs of a study are trained."""
    return Workplace(
        dataset=file.dataset.absolute() if isinstance(file.dataset, Path) else file.dataset,
        fingerprint=dataset.fingerprint,
        knowledge=file.workspace.absolute() / "knowledge",
        scratch=file.folder / "ray",
        resources=file.resources,
        workers=file.workers,
        retries=file.retries,
    )


@dataclass(frozen=True, kw_only=True)
class OpenSearch:
    """A search, its data and its jobs; its lease is held."""

    file: StudyFile
    study: SearchStudy
    dataset: Dataset
    jobs: StudyJobs

    @property
    def teachers(self) -> dict[str, AnyTeacher]:
        """The teachers that are there, by `id` and `ood`."""
        found = {role: find_teacher(path) for role, path in self.jobs.teacher_folders.items()}
        return {role: teacher for role, teacher in found.items() if teacher is not None}

    def summary(self) -> Summary:
        """Return what the search has found."""
        attributes = dict(self.study.optuna.user_attrs)
        return summarise(self.file.name, self.study.views(), attributes)


def bind_search(
    study: SearchStudy, file: StudyFile, dataset: Dataset, reporter: Reporter | None = None
) -> OpenSearch:
    """Hold a study to what its earlier trials were made with; `RefKDError` where it differs.

    Teachers from elsewhere are imported first: a file that is refused is bound to nothing.
    """
    launches = study.launches.all()
    jobs = StudyJobs(file, dataset, teacher_epochs=launches[0].epochs if launches else None)
    check_same(jobs.imports, study.optuna.user_attrs.get("teachers", {}), file.name)
    import_missing(jobs.imports, dataset, jobs.place.knowledge, reporter or Reporter())
    study.bind("objectives", file.objectives)
    if file.minimize:
        study.bind("minimize", file.minimize)
    study.bind("dataset", dataset.fingerprint)
    study.bind("teachers", {role: path.name for role, path in jobs.teacher_folders.items()})
    study.bind("seed", file.seed)
    return OpenSearch(file=file, study=study, dataset=dataset, jobs=jobs)


@contextmanager
def open_ended_search(
    path: StudyFile | Path | str, *, verify: bool = True
) -> Iterator[OpenSearch]:
    """Open a search that has ended and hold its lease while the body runs.

    Every byte of the dataset is read; without `verify` as by `refkd search --no-verify`.
    Raises `NoStudyError` where it was not begun, `LeaseError` where a driver is at work,
    `RefKDError` where trials are left or no trial counts, and else as `refkd search`.
    """
    file = path if isinstance(path, StudyFile) else load_study_file(path)
    place, spec = place_of(file), file.search_spec()
    open_study(place)
    with lease(place.storage, file.name, signs=spec.signs):
        dataset = Dataset.open(file.dataset, anew=verify)
        study = SearchStudy(spec, place.storage)
        check_own(file, study.optuna.user_attrs)
        launches, left, epochs = study.launches.all(), study.left(), file.training.epochs
        check_growth(spec, launches)
        if not launches or left or launches[-1].epochs != epochs:
            raise RefKDError(
                f"study {file.name!r} has not ended: {left} of {spec.budget.trials} trials of "
                f"{epochs} epochs are left or shorter; run `refkd search` first"
            )
        search = bind_search(study, file, dataset)
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


class SearchJobs:
    """The trials that are left of a search, as the study asks for them; used like a `JobList`.

    `published` is called after each event that the study has stored.
    """

    def __init__(
        self,
        jobs: StudyJobs,
        study: SearchStudy,
        reporter: Reporter,
        published: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs, self._study = jobs, study
        self._reporter, self._published = reporter, published
        study.queue.on_refusal = lambda number, why: reporter.stage(f"trial {number}: {why}")

    def next_job(self) -> TrainingJob | None:
        """Ask the study for its next trial."""
        while (ask := self._study.ask()) is not None:
            self._published()
            self._reporter.trial_started(ask)
            try:
                return self._jobs.trial(ask)
            except ValidationError as error:  # values that do not go together
                self._fail(ask.number, str(error.errors()[0]["msg"]))
        return None

    def may_follow(self) -> bool:
        """Return whether a trial runs: it may be given back, or let another be promoted."""
        return self._study.may_ask_later()

    def epoch_ended(
        self, job: TrainingJob, epoch: int, metrics: Mapping[str, float], scored: Mapping[str, str]
    ) -> bool:
        """Store an epoch and return whether the study lets the trial go on."""
        number = int(job.key)
        action = self._study.record(number, epoch, metrics, scored)
        self._published()
        self._reporter.trial_epoch(number, epoch, metrics)
        self._reporter.epochs(self._study.progress)
        return action == "go"

    def give_back(self, job: TrainingJob, *, blameless: bool = False) -> None:
        """Let the study hand the trial out again."""
        self._study.give_back(int(job.key), blameless=blameless)

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        """Store the outcome of a trial; one that is paused stays open."""
        number = int(job.key)
        if end.failed is not None:
            self._fail(number, end.failed)
        elif (state := self._study.end(number, end.metrics, _students(job))) is not None:
            self._ended(number, state)

    def close_paused(self) -> None:
        """End as pruned every trial that waits for a promotion which will never come."""
        for number in self._study.close_paused():
            self._ended(number, "PRUNED")

    def _fail(self, number: int, reason: str) -> None:
        self._ended(number, self._study.fail(number, reason), reason)

    def _ended(self, number: int, state: str, reason: str | None = None) -> None:
        self._published()
        if state == FOREIGN:
            self._reporter.stage(f"trial {number}: another program ended it; it does not count")
        else:
            self._reporter.trial_ended(number, state, reason)


def _students(job: TrainingJob) -> list[str] | None:
    """Return the hashes of what a job has kept; None unless all of it is there, as when pruned."""
    folders = [seed_folder(job.folder, replicate) for replicate in range(len(job.networks))]
    if not all(map(student_is_frozen, folders)):
        return None
    return [record_hash(folder) for folder in folders]
