"""Ray Tune's searcher and scheduler; a job is forgotten only after its source knows its end."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune import compat
from tune.ending.stopping import is_stopping
from tune.execution.fault_count import FaultCount
from tune.execution.jobs import JobEnd, JobList, TrainingJob
from tune.execution.machine import Fault, fault_in
from tune.execution.preemption import NodeLeavingError
from tune.execution.study_jobs import SearchJobs
from tune.execution.worker import FAILED, FAULT, FINAL, METRICS, SCORED
from tune.study.storage import StorageError

_log = logging.getLogger(__name__)
T = TypeVar("T")

JobSource = JobList | SearchJobs
"""What hands out the jobs of a run, takes their epochs and ends, and decides when one stops."""


class JobSearcher(Searcher):
    """Hands a source's jobs to Ray and tells the source what becomes of them, by Ray's trial ids.

    A job whose worker died is handed out again, `retries` times within a run; then it waits until
    another job has gone on, and has failed. A fault of the machine fails no job. After `IN_A_ROW`
    faults without an epoch between them the run stops, with what it was at left as it is.
    """

    def __init__(self, source: JobSource, *, retries: int) -> None:
        super().__init__()
        self._source, self._retries = source, retries
        self._jobs: dict[str, TrainingJob] = {}
        """Jobs that are handed out and have not ended."""
        self._ends: dict[str, JobEnd] = {}
        """How a job is to end, as its worker reported it or the source decided."""
        self._lost: StorageError | None = None
        """What the study's storage failed with; from then on nothing is asked of the source."""
        self.errors: dict[str, str] = {}
        """What the worker of a trial failed with, as Ray wrote it down."""
        self._reported: dict[str, Fault] = {}
        """What the worker of a trial failed with, as it said itself."""
        self._run = FaultCount(retries)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next job as a trial's config, None to be asked again, or `FINISHED`."""
        job = None if self._run.stopped else self._stored(self._source.next_job, None)
        while job is None and not self._jobs and (blamed := self._run.blamed_at_last()):
            self._blame(blamed)
            job = self._stored(self._source.next_job, None)
        if job is None:
            ended = self._run.stopped or not self._jobs
            later = False if ended else self._stored(self._source.may_follow, False)
            return None if later else Searcher.FINISHED
        self._jobs[trial_id] = job
        self._run.begun(trial_id, job)
        return {"job": job}

    def report(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take a worker's report; return whether its job goes on."""
        if FAILED in result:
            self._ends[trial_id] = JobEnd(failed=str(result[FAILED]))
        if said := _named(result, FAULT):
            self._reported[trial_id] = Fault(**said)
        if kept := _named(result, FINAL):
            self._ends[trial_id] = JobEnd(metrics=kept)
        if "epoch" not in result:
            return True
        job, epoch = self._jobs[trial_id], int(result["epoch"])
        metrics = {k: float(v) for k, v in result.items() if k.startswith(METRICS)}
        scored = _named(result, SCORED)
        goes_on = self._stored(
            lambda: self._source.epoch_ended(job, epoch, metrics, scored), False
        )
        self._blame(self._run.went_on(job, epoch))
        if not goes_on:
            self._ends[trial_id] = JobEnd()
        return goes_on

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: unlike the scheduler, this hook misses a trial's last report."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on a job's one end, or hand it out again after a fault that is not its own."""
        job = self._jobs.pop(trial_id, None)
        if job is None:  # a second call for the same trial
            return
        end = self._ends.pop(trial_id, None)  # a worker may die with its work done
        if end is None and error:
            text = self.errors.get(trial_id) or "the worker process died"
            if NodeLeavingError.__name__ in text or is_stopping():
                self._stored(
                    lambda: self._source.give_back(job), None
                )  # what stops a driver may meet its workers too
                return
            fault = self._reported.pop(trial_id, None) or fault_in(text)
            _log.warning("%s: %s", job.folder, fault.cause)
            if self._run.met(trial_id, job, fault):
                self._give_back(job, fault)
            if self._run.stopped:
                compat.end_tune_soon()
            return
        silent = JobEnd(failed="the worker ended without reporting its last epoch", died=True)
        self._stored(lambda: self._source.job_ended(job, end or silent), None)

    def check(self) -> None:
        """Raise `UnfinishedError` where the run has ended with jobs left by a fault.

        Raises `StorageError` where the study's storage has failed.
        """
        if self._lost is not None:
            raise self._lost
        error = self._run.error()
        if error is None or is_stopping():
            return
        for job, fault in self._run.waiting.values():
            self._give_back(job, fault)
        for job in self._jobs.values():  # what was at work when the run was stopped
            self._stored(functools.partial(self._source.give_back, job, blameless=True), None)
        raise self._lost or error

    def _give_back(self, job: TrainingJob, fault: Fault) -> None:
        self._stored(lambda: self._source.give_back(job, blameless=fault.machine), None)

    def _stored(self, action: Callable[[], T], otherwise: T) -> T:
        """Do what needs the storage, and end the run where that fails: Ray would fail a trial."""
        if self._lost is None:
            try:
                return action()
            except StorageError as error:
                self._lost = error
                compat.end_tune_soon()
        return otherwise

    def _blame(self, blamed: Iterable[tuple[TrainingJob, Fault]]) -> None:
        for job, fault in blamed:
            end = JobEnd(failed=fault.cause, died=True)
            self._stored(functools.partial(self._source.job_ended, job, end), None)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the source is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: what continues, continues from what was stored, never from Ray's files."""
        raise RuntimeError("a search continues from its study; run the same command again")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class JobScheduler(FIFOScheduler):
    """Passes every report to the searcher and stops what the source stops."""

    def __init__(self, searcher: JobSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(
        self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]
    ) -> str:
        """Pass on a report and return whether the trial goes on."""
        goes_on = self._searcher.report(trial.trial_id, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """Note why a worker failed."""
        super().on_trial_error(tune_controller, trial)
        self._searcher.errors[trial.trial_id] = compat.take_error(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _named(result: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in result.items() if k.startswith(prefix)}
