"""One launch of a search, start to end; the same call continues whatever was left."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refkd.data.dataset import Dataset
from refkd.data.simulate import simulate
from refkd.errors import RefKDError
from refkd.files import temporaries
from refkd.training.precision import advice
from refkd.training.teacher import Teacher, find_teacher
from tune.config.marks import study_marks
from tune.config.study_file import TEACHER_ROLES, StudyFile, load_study_file
from tune.execution.cluster import ray_session
from tune.execution.jobs import (
    CHECKPOINTS,
    EpochListener,
    InterruptedSearchError,
    interrupted,
    stopped_at_once,
)
from tune.execution.node_usage import Census
from tune.execution.progress import Reporter, Silent
from tune.execution.study_jobs import SearchJobs, StudyJobs, TrialListener, study_jobs
from tune.results.search_champions import select_champions
from tune.study.environment import environment
from tune.study.events import TeacherTrained, teachers_of
from tune.study.folders import trial_folder
from tune.study.growth import check_growth, continue_survivors
from tune.study.lease import lease
from tune.study.locate import place_of
from tune.study.search_study import SearchStudy
from tune.study.summary import Summary, summarise
from tune.study.warm_start import warm_points
from tune.tracking.record import Record

_ENDED = ("COMPLETE", "PRUNED", "FAIL")


def search(
    study: StudyFile | Path | str,
    *,
    address: str | None = None,
    reporter: Reporter | None = None,
) -> Summary:
    """Begin or continue the search of a study, and return what it has found.

    `study` is a study file or its path; `address` joins a running Ray cluster. Trials that an
    earlier launch left unfinished go on from their last checkpoint, finished ones are kept.
    Raises `LeaseError` where another driver is at work, `InterruptedSearchError` after Ctrl-C,
    `RefKDError` where the file no longer fits the study, or no trial could start.
    """
    file = study if isinstance(study, StudyFile) else load_study_file(study)
    url = place_of(file).storage
    held = lease(url, file.name, objectives=len(file.objectives))
    if file.simulate is None:
        Dataset.open(file.dataset)  # before the study is made: a wrong path is no launch
    with stopped_at_once(), reporter or Silent() as told, held:
        return _Launch(file, url, told).run(address)


class _Launch:
    """What one launch holds together."""

    def __init__(self, file: StudyFile, url: str, reporter: Reporter) -> None:
        self.file = file
        self.reporter = reporter
        self.dataset = open_dataset(file, reporter)
        self.study = SearchStudy(file, url)
        check_growth(file, self.study.launches.all())
        self.jobs = self._jobs()
        self._bind()

    def run(self, address: str | None) -> Summary:
        if address is None:
            slow = advice(self.file.training.precision, self.file.resources.device)
            if slow is not None:
                self.reporter.stage(slow)
        teachers = self._teachers()
        needed = [role for role in TEACHER_ROLES if teachers[role] is None]
        self._begin()
        # Also where nothing is left to train: what an outage kept from MLflow is sent now.
        with Record(self.file) as record:
            record.study_started(self.study, self.dataset)
            if needed or self.study.left():
                with (
                    ray_session(self.file.resources, address=address),
                    self.study.launches.counting(Census()),
                ):
                    if needed:
                        self._train_teachers(needed)
                    self._note_teachers(record)
                    if self.study.left():
                        self._train_students(record)
            else:
                self._note_teachers(record)
        self._clean()
        self.study.launches.touch()
        if self.study.left():
            raise interrupted(self.study.left(), self.file.budget.trials, "trials")
        # A server that does not keep up is not waited for.
        return self._finish(register=record.delivery.left == 0)

    def _begin(self) -> None:
        """Record the launch and put in line what is to be tried first."""
        _remove_temporaries(self.file.folder)
        self.study.begin_launch(environment())
        for point in warm_points(self.file):
            self.study.enqueue(point)
        grown = continue_survivors(self.study)
        if grown:
            self.reporter.stage(
                f"{len(grown)} complete trials go on to {self.file.training.epochs} epochs"
            )

    def _jobs(self) -> StudyJobs:
        launches = self.study.launches.all()
        epochs = launches[0].epochs if launches else self.file.training.epochs
        return study_jobs(self.file, self.dataset, teacher_epochs=epochs)

    def _bind(self) -> None:
        """Hold the study to what its earlier trials were made with."""
        self.study.bind("objectives", self.file.objectives)
        self.study.bind("dataset", self.dataset.fingerprint)
        self.study.bind("teachers", {r: p.name for r, p in self.jobs.teacher_folders.items()})
        self.study.bind("seed", self.file.seed)
        self.study.note("epochs", self.file.training.epochs)
        self.study.note("marks", study_marks(self.file))
        self.study.note("budget", self.file.budget.model_dump(mode="json"))

    def _teachers(self) -> dict[str, Teacher | None]:
        return {role: find_teacher(path) for role, path in self.jobs.teacher_folders.items()}

    def _train_teachers(self, roles: list[str]) -> None:
        from tune.execution.training import train_jobs

        self.reporter.stage(f"training teachers: {', '.join(roles)}")
        missing = [self.jobs.teachers[role] for role in roles]
        listener = EpochListener(self.reporter.teacher_epoch)
        failures = train_jobs(missing, self.jobs.place, listener)
        if failures:
            raise RefKDError("; ".join(f"teacher {r}: {why}" for r, why in failures.items()))
        left = [role for role, teacher in self._teachers().items() if teacher is None]
        if left:
            raise InterruptedSearchError(
                f"stopped before the teachers were trained ({', '.join(left)} left); run the "
                "same command again to continue"
            )

    def _note_teachers(self, record: Record) -> None:
        found = {role: teacher for role, teacher in self._teachers().items() if teacher}
        known = teachers_of(self.study.optuna.user_attrs)
        for role, teacher in found.items():
            event, held = _event(role, teacher), known.get(role)
            if held is None or event.content() != held.content():  # NaN is not equal to itself
                self.study.append(event)
        record.teachers_ready(found)

    def _train_students(self, record: Record) -> None:
        from tune.execution.training import run_jobs

        left = self.study.left()
        wanted = left + sum(v.state in _ENDED for v in self.study.views())
        self.reporter.stage(
            f"searching: {left} of {wanted} trials to go, {self.file.workers} at a time"
        )
        self.reporter.search_begins(
            wanted=wanted,
            ended=wanted - left,
            epochs=self.file.training.epochs,
            workers=self.file.workers,
        )
        listeners: list[TrialListener] = [self.reporter, record]
        run_jobs(SearchJobs(self.jobs, self.study, listeners), self.jobs.place)
        for number in self.study.close_paused():
            for listener in listeners:
                listener.trial_ended(number, "PRUNED", None)
        reason = self.study.stop_reason()
        if reason is not None:
            self.reporter.stage(f"the search has stopped: {reason}")

    def _clean(self) -> None:
        """Remove checkpoints that nothing can go on from, and what killed writers left.

        Complete trials keep theirs: they may grow in epochs.
        """
        for view in self.study.views():
            if view.state in ("PRUNED", "FAIL"):
                for folder in trial_folder(self.file.folder, view.number).rglob(CHECKPOINTS):
                    shutil.rmtree(folder)
        _remove_temporaries(self.file.folder / "trials")

    def _finish(self, *, register: bool) -> Summary:
        summary = self.summary()
        if summary.champions:
            teachers = {r: t for r, t in self._teachers().items() if t is not None}
            select_champions(
                self.file,
                self.study,
                summary,
                self.dataset,
                teachers,
                self.reporter,
                register=register,
            )
        return self.summary()

    def summary(self) -> Summary:
        attributes: Mapping[str, Any] = self.study.optuna.user_attrs
        return summarise(self.file.name, self.study.views(), dict(attributes))


def open_dataset(file: StudyFile, reporter: Reporter) -> Dataset:
    """Open a study's dataset; simulate it first where the file says how."""
    path = file.dataset
    if isinstance(path, Path) and not path.exists() and file.simulate is not None:
        reporter.stage(f"simulating {path}")
        simulate(out=path, config=file.simulate)
    return Dataset.open(path)


def _event(role: str, teacher: Teacher) -> TeacherTrained:
    history = teacher.record.history
    return TeacherTrained(
        role=role,
        digest=teacher.digest,
        epoch=teacher.record.epoch,
        epochs=len(history),
        metrics=teacher.record.metrics,
        cost=history[-1]["metrics"] if history else {},
    )


def _remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed left; who holds the lease may take them for dead."""
    for path in temporaries(folder):
        path.unlink(missing_ok=True)
