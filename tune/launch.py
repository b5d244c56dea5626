"""One launch of a search, start to end; the same call continues whatever was left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.simulate import simulate
from refkd.files import temporaries
from refkd.training.precision import advice
from tune.config.study_file import StudyFile, load_study_file
from tune.ending.stopping import stopped_at_once
from tune.execution.cluster import NodeUsage, ray_session
from tune.execution.imports import check_imports
from tune.execution.jobs import (
    CHECKPOINTS,
    TrainingJob,
    Workplace,
    interrupted,
    trained_network,
)
from tune.execution.progress import Reporter
from tune.execution.study_jobs import OpenSearch, SearchJobs, bind_search
from tune.results.champions import select_search_champions
from tune.study.environment import environment
from tune.study.events import TeacherTrained, teachers_of
from tune.study.folders import trial_folder
from tune.study.growth import check_growth, continue_survivors, warm_points, with_prior
from tune.study.home import settle
from tune.study.inputs import check_inputs, check_simulated, few_points, idle_workers
from tune.study.lease import lease
from tune.study.locate import place_of
from tune.study.retries import carry_out
from tune.study.search_study import SearchStudy
from tune.study.storage import to_be_continued
from tune.study.summary import Summary
from tune.study.view import ENDED_STATES
from tune.tracking.record import Record, check_record


def search(
    study: StudyFile | Path | str,
    *,
    address: str | None = None,
    reporter: Reporter | None = None,
    verify: bool = True,
) -> Summary:
    """Begin or continue the search of a study, and return what it has found.

    `study` is a study file or its path; `address` joins a running Ray cluster. Trials that an
    earlier launch left unfinished go on from their last checkpoint, finished ones are kept. Every
    byte of the dataset is compared with its hash; without `verify` only where none of this machine
    has done so since it was written.
    Raises `LeaseError` where another driver is at work, `InterruptedSearchError` after Ctrl-C,
    `RefKDError` where the file no longer fits the study, or no trial could start.
    """
    file = study if isinstance(study, StudyFile) else load_study_file(study)
    place, spec = place_of(file), file.search_spec()
    held = lease(place.storage, file.name, signs=spec.signs)
    check_inputs(file, verify=verify)
    check_imports(file)
    away = check_record(file)
    with stopped_at_once(), reporter or Reporter() as shown, held, to_be_continued():
        if away is not None:
            shown.stage(away)
        dataset = open_dataset(file, shown, verify=False)  # it was read, or is made now
        spec, told = with_prior(spec, place, dataset.fingerprint)
        for sentence in told:
            shown.stage(sentence)
        opened = SearchStudy(spec, place.storage)
        check_growth(spec, opened.launches.all())
        came_from = settle(opened, file)
        if came_from is not None and (came_from.is_double or opened.left()):
            shown.stage(str(came_from))
        return _Launch(bind_search(opened, file, dataset, shown), shown).run(address)


class _Launch:
    """What one launch holds together."""

    def __init__(self, search: OpenSearch, reporter: Reporter) -> None:
        self.search, self.reporter = search, reporter
        self.file, self.study, self.jobs = search.file, search.study, search.jobs
        self.study.note("epochs", self.file.training.epochs)
        self.study.note("marks", self.file.caveats())
        self.study.note("budget", self.study.spec.budget.model_dump(mode="json"))

    def run(self, address: str | None) -> Summary:
        if address is None:
            slow = advice(self.file.training.precision, self.file.resources.device)
            idle = idle_workers(self.file, os.cpu_count() or 1)
            for said in (slow, idle, few_points(self.file)):
                if said is not None:
                    self.reporter.stage(said)
        teachers = self.jobs.teachers.values()
        self._begin()
        # Also where nothing is left to train: what an outage kept from MLflow is sent now.
        with Record(self.file) as record:
            record.study_started(self.study, self.search.dataset)
            with ExitStack() as machines:
                if missing_teachers(teachers) or self.study.left():
                    machines.enter_context(ray_session(self.file.resources, address=address))
                    machines.enter_context(self.study.launches.counting(NodeUsage()))
                train_missing(teachers, self.jobs.place, self.reporter)
                self._note_teachers(record)
                if self.study.left():
                    self._train_students(record)
        self._clean()
        self.study.launches.touch()
        if self.study.left():
            raise interrupted(self.study.left(), self.study.spec.budget.trials, "trials")
        # A server that does not keep up is not waited for.
        register = record.delivery.left == 0
        select_search_champions(self.search, self.reporter, register=register)
        return self.search.summary()

    def _begin(self) -> None:
        """Record the launch and put in line what is to be tried first."""
        _remove_temporaries(self.file.folder)
        self.study.begin_launch(environment())
        carry_out(self.study)
        for point in warm_points(self.file):
            self.study.enqueue(point)
        grown = continue_survivors(self.study)
        if grown:
            self.reporter.stage(
                f"{len(grown)} complete trials go on to {self.file.training.epochs} epochs"
            )

    def _note_teachers(self, record: Record) -> None:
        found = self.search.teachers
        known = teachers_of(self.study.optuna.user_attrs)
        for role, teacher in found.items():
            history, held = teacher.record.history, known.get(role)
            event = TeacherTrained(
                role=role,
                digest=teacher.digest,
                epoch=teacher.record.epoch,
                epochs=len(history),
                metrics=teacher.record.metrics,
                cost=history[-1]["metrics"] if history else {},
                file=teacher.file_hash,
                origin=None if teacher.origin is None else str(teacher.origin),
            )
            if held is None or event.content() != held.content():  # NaN is not equal to itself
                self.study.append(event)
        record.wake()

    def _train_students(self, record: Record) -> None:
        from tune.execution.training import run_jobs

        left = self.study.left()
        wanted = left + sum(v.state in ENDED_STATES for v in self.study.views())
        limits = [
            f"budget.{name}={limit:g}"
            for name, limit in self.file.budget.model_dump(exclude={"trials", "finish"}).items()
            if limit is not None
        ]
        until = f" until {' or '.join(limits)} is used up" if limits and left else ""
        self.reporter.stage(
            f"searching: {left} of {wanted} trials to go{until}, {self.file.workers} at a time"
        )
        epochs = self.file.training.epochs
        self.reporter.search_begins(wanted=wanted, ended=wanted - left, epochs=epochs)
        source = SearchJobs(self.jobs, self.study, self.reporter, record.wake)
        run_jobs(source, self.jobs.place)
        source.close_paused()
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


def open_dataset(file: StudyFile, reporter: Reporter, *, verify: bool = True) -> Dataset:
    """Open a study's dataset, by `verify` reading all; simulate it first where the file says how.

    Raises `DataError` where a byte is not that of its manifest.
    """
    path = file.dataset
    if isinstance(path, Path) and not path.exists() and file.simulate is not None:
        reporter.stage(f"simulating {path}")
        simulate(out=path, config=file.simulate)
    dataset = Dataset.open(path, anew=verify)
    check_simulated(file, dataset)
    return dataset


def missing_teachers(jobs: Iterable[TrainingJob]) -> list[TrainingJob]:
    """Return the jobs of teachers that are not trained yet."""
    return [job for job in jobs if trained_network(job.folder) is None]


def train_missing(
    jobs: Iterable[TrainingJob], place: Workplace, reporter: Reporter, *, tolerate: bool = False
) -> dict[str, str]:
    """Train the teachers that are missing, side by side; raises and returns as `train_jobs`."""
    missing = missing_teachers(jobs)
    if not missing:
        return {}
    from tune.execution.training import train_jobs

    reporter.stage(f"training teachers: {', '.join(job.key for job in missing)}")
    return train_jobs(missing, place, reporter, what="teacher", tolerate=tolerate)


def _remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed left; who holds the lease may take them for dead."""
    for path in temporaries(folder):
        path.unlink(missing_ok=True)
