"""Finalists: the best trials again on fresh seeds, and the champions chosen by their means."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from refkd.errors import RefKDError
from refkd.training.export import open_student
from tune.config.study_file import StudyFile
from tune.execution.cluster import ray_session
from tune.execution.jobs import (
    CHECKPOINTS,
    JobEnd,
    JobListener,
    TrainingJob,
    Workplace,
    interrupted,
    stopped_at_once,
)
from tune.execution.progress import Reporter, Silent
from tune.results.choice import FinalistRun, choose, fresh_seeds, plan_runs, read_results
from tune.results.finalist_champions import select_finalist_champions
from tune.results.outcome import Outcome, outcome_of
from tune.study.environment import environment
from tune.study.events import FinalistEpochEnded, FinalistsBegun, FinalistTrained
from tune.study.outcomes import Finalists, SeedResult
from tune.tracking.record import Record


class FinalistTrainer(Protocol):
    """Trains students and tells a listener of each."""

    def __call__(
        self,
        jobs: Sequence[TrainingJob],
        place: Workplace,
        listener: JobListener,
        *,
        address: str | None,
    ) -> None: ...


def train_with_ray(
    jobs: Sequence[TrainingJob], place: Workplace, listener: JobListener, *, address: str | None
) -> None:
    """Train students as one run of Ray Tune: a `FinalistTrainer`."""
    with ray_session(place.resources, address=address):
        from tune.execution.training import train_jobs

        train_jobs(jobs, place, listener)


def finalists(
    study: StudyFile | Path | str,
    *,
    top: int = 3,
    seeds: int = 3,
    address: str | None = None,
    reporter: Reporter | None = None,
    train: FinalistTrainer = train_with_ray,
) -> Finalists:
    """Run the best trials of an ended search again on fresh seeds and choose the champions.

    The `top` trials by each objective and by the harmonic mean are trained from `seeds` seeds that
    the search never used; what an earlier call has trained is kept, what it began is continued.
    Champions are chosen by the mean over the seeds. Only `fit`, `val_id` and `val_ood` are read.
    `train` trains the students: with Ray, unless another `FinalistTrainer` is given.
    Raises as `outcome_of`, `RefKDError` where a worker died for good or every finalist failed,
    `InterruptedSearchError` after Ctrl-C. Source: evaluation protocol, "Finalists".
    """
    if top < 1 or seeds < 1:
        raise RefKDError(f"top is {top} and seeds is {seeds}; both must be at least 1")
    with stopped_at_once(), reporter or Silent() as told, outcome_of(study) as outcome:
        finals = _Finals(outcome, told, top=top, seeds=seeds)
        return finals.run(lambda jobs: train(jobs, outcome.jobs.place, finals, address=address))


class _Finals:
    """One call, and the listener of its jobs."""

    def __init__(self, outcome: Outcome, reporter: Reporter, *, top: int, seeds: int) -> None:
        self._outcome = outcome
        self._reporter = reporter
        self._file = outcome.file
        self._seeds = fresh_seeds(self._file, seeds)
        self._chosen = choose(outcome.study.views(), self._file.objectives, top=top)
        self._runs = plan_runs(self._file, self._chosen, self._seeds)
        self._by_key = {run.run: run for run in self._runs}
        self._deaths: dict[str, str] = {}
        """Why workers died for good, by the key of their job."""

    def run(self, train: Callable[[Sequence[TrainingJob]], None]) -> Finalists:
        with Record(self._file) as self._record:
            self._record.study_started(self._outcome.study, self._outcome.dataset)
            self._record.teachers_ready(self._outcome.teachers)
            left = self._announce()
            if left:
                self._begin()
                train([self._job(run) for run in left])
        self._clean()
        left = self._left()
        if self._deaths:
            told = "; ".join(f"{run}: {why}" for run, why in self._deaths.items())
            raise RefKDError(f"{told}; run the same command again to continue")
        if left:
            raise interrupted(len(left), len(self._runs), "students of finalists")
        results = self._results()
        return select_finalist_champions(self._outcome, self._chosen, results, self._reporter)

    def _begin(self) -> None:
        """Store whom this call trains, and with which code."""
        begun = FinalistsBegun(
            begun=time.time(),
            trials=[view.number for view in self._chosen],
            seeds=self._seeds,
            environment=environment(),
        )
        self._append(begun)

    def _announce(self) -> list[FinalistRun]:
        """Say what is left to train, and return it."""
        left = self._left()
        self._reporter.stage(
            f"{len(self._chosen)} finalists on {len(self._seeds)} fresh seeds: {len(left)} of "
            f"{len(self._runs)} students to train"
        )
        return left

    def _job(self, run: FinalistRun) -> TrainingJob:
        return self._outcome.jobs.students(run.run, run.folder, run.values, [run.seed])

    # What becomes of the jobs -----------------------------------------------------------------

    def job_started(self, job: TrainingJob) -> None:
        """Do nothing: the call's own event names all students."""

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        """Store an epoch."""
        run = self._by_key[job.key]
        self._append(
            FinalistEpochEnded(
                trial=run.number,
                replicate=run.replicate,
                epoch=epoch,
                at=time.time(),
                metrics=dict(metrics),
            )
        )

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        """Store what a student came to, or why training gave up, then tell of it.

        Training would give up again; a student whose worker died may be trained by another call.
        """
        run, metrics = self._by_key[job.key], dict(end.metrics)
        if end.died:
            self._deaths[job.key] = str(end.failed)
        elif end.failed is not None:
            self._store(run, SeedResult(seed=run.seed, failed=end.failed))
            self._reporter.stage(f"{run.run}: failed: {end.failed}")
        else:
            epochs, found = job.networks[0].total_epochs(), open_student(run.folder).record
            result = SeedResult(seed=run.seed, epochs=epochs, metrics=metrics, sha256=found.sha256)
            self._store(run, result)
            self._reporter.stage(
                f"{run.run}: ID mIoU {metrics['val_id/miou']:.2f}, OOD mIoU "
                f"{metrics['val_ood/miou']:.2f}"
            )

    def _store(self, run: FinalistRun, result: SeedResult) -> None:
        self._append(
            FinalistTrained(trial=run.number, replicate=run.replicate, **result.model_dump())
        )

    def _append(self, event: FinalistsBegun | FinalistEpochEnded | FinalistTrained) -> None:
        self._outcome.study.append(event)
        self._record.wake()

    # What the study holds ---------------------------------------------------------------------

    def _results(self) -> dict[FinalistRun, SeedResult]:
        held = read_results(self._outcome.study.optuna.user_attrs)
        return {run: held[run.key] for run in self._runs if run.key in held}

    def _left(self) -> list[FinalistRun]:
        known = self._results()
        return [run for run in self._runs if run not in known]

    def _clean(self) -> None:
        """Remove checkpoints of students whose result is stored."""
        for run in self._results():
            if (run.folder / CHECKPOINTS).is_dir():
                shutil.rmtree(run.folder / CHECKPOINTS)
