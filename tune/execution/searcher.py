"""Ray Tune's searcher and scheduler; a job is forgotten only after its source knows its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune import compat
from tune.ending.stopping import is_stopping
from tune.execution.jobs import JobEnd, JobList, TrainingJob
from tune.execution.preemption import NodeLeavingError
from tune.execution.study_jobs import SearchJobs
from tune.execution.worker import FAILED, FINAL, METRICS
from tune.study.storage import StorageError

T = TypeVar("T")
JobSource = JobList | SearchJobs
"""What hands out the jobs of a run, takes their epochs and ends, and decides when one stops."""


class JobSearcher(Searcher):
    """Hands a source's jobs to Ray and tells the source what becomes of them, by Ray's trial ids.

    A job whose worker died is handed out again, `retries` times within a run.
    """

    def __init__(self, source: JobSource, *, retries: int) -> None:
        super().__init__()
        self._source, self._retries = source, retries
        self._jobs: dict[str, TrainingJob] = {}
        """Jobs that are handed out and have not ended."""
        self._ends: dict[str, JobEnd] = {}
        """How a job is to end, as its worker reported it or the source decided."""
        self._deaths: Counter[str] = Counter()
        """How often the worker of a job failed in this run, by the job's key."""
        self.lost: StorageError | None = None
        """What the study's storage failed with; from then on nothing is asked of the source."""
        self.errors: dict[str, str] = {}
        """What the worker of a trial failed with, as Ray wrote it down."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next job as a trial's config, None to be asked again, or `FINISHED`."""
        job = self._stored(self._source.next_job, None)
        if job is None:
            return None if self._stored(self._source.may_follow, False) else Searcher.FINISHED
        self._jobs[trial_id] = job
        return {"job": job}

    def report(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take a worker's report; return whether its job goes on."""
        if FAILED in result:
            self._ends[trial_id] = JobEnd(failed=str(result[FAILED]))
        if kept := {k.removeprefix(FINAL): v for k, v in result.items() if k.startswith(FINAL)}:
            self._ends[trial_id] = JobEnd(metrics=kept)
        if "epoch" not in result:
            return True
        job, epoch = self._jobs[trial_id], int(result["epoch"])
        metrics = {k: float(v) for k, v in result.items() if k.startswith(METRICS)}
        goes_on = self._stored(lambda: self._source.epoch_ended(job, epoch, metrics), False)
        if not goes_on:
            self._ends[trial_id] = JobEnd()
        return goes_on

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: unlike the scheduler, this hook misses a trial's last report."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on a job's one end, or hand it out again after an error while it has retries."""
        job = self._jobs.pop(trial_id, None)
        if job is None:  # a second call for the same trial
            return
        end = self._ends.pop(trial_id, None)  # a worker may die with its work done
        if end is None and error:
            text = self.errors.get(trial_id) or "the worker process died"
            leaves = NodeLeavingError.__name__ in text
            spared = leaves or is_stopping()  # what stops a driver may meet its workers too
            if spared or self._deaths[job.key] < self._retries:
                self._deaths[job.key] += not spared
                self._stored(lambda: self._source.give_back(job), None)
                return
            end = JobEnd(failed=text.splitlines()[-1], died=True)
        silent = JobEnd(failed="the worker ended without reporting its last epoch", died=True)
        self._stored(lambda: self._source.job_ended(job, end or silent), None)

    def _stored(self, action: Callable[[], T], otherwise: T) -> T:
        """Do what needs the storage, and end the run where that fails: Ray would fail a trial."""
        if self.lost is None:
            try:
                return action()
            except StorageError as error:
                self.lost = error
                compat.end_tune_soon()
        return otherwise

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
        file = compat.error_file(trial)
        if file and file.is_file():
            self._searcher.errors[trial.trial_id] = file.read_text(encoding="utf-8").strip()

    def __getstate__(self) -> dict[str, Any]:
        return {}
