"""Ray Tune's view of a source of jobs: a searcher that asks it, a scheduler that reports to it.

Ray holds no truth. The searcher hands out what the source offers, the scheduler passes on every
report and carries out what the source decides, and both forget a job only after the source knows
its end.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune import compat
from tune.execution.jobs import JobEnd, JobSource, TrainingJob
from tune.execution.preemption import NodeLeavingError
from tune.execution.worker import FAILED, FINAL, metrics_of


class Bookkeeping:
    """What searcher and scheduler share during one run, by Ray's trial ids."""

    def __init__(self, source: JobSource, *, retries: int) -> None:
        self._source = source
        self._retries = retries
        self._jobs: dict[str, TrainingJob] = {}
        """Jobs that are handed out and have not ended."""
        self._ends: dict[str, JobEnd] = {}
        """How a job is to end, as its worker reported it or the source decided."""
        self._deaths: Counter[str] = Counter()
        """How often the worker of a job failed in this run, by the job's key."""
        self.causes: dict[str, str] = {}
        """Why a worker failed last."""
        self.leaving: set[str] = set()
        """Trials that left a node before it was taken away."""

    def hand_out(self, trial_id: str) -> TrainingJob | None:
        """Return the next job; None where there is none now."""
        job = self._source.next_job()
        if job is not None:
            self._jobs[trial_id] = job
        return job

    def may_follow(self) -> bool:
        """Return whether there may be another job later."""
        return self._source.may_follow()

    def report(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take a worker's report; return whether its job goes on."""
        if FAILED in result:
            self._ends[trial_id] = JobEnd(failed=str(result[FAILED]))
        kept = {k.removeprefix(FINAL): v for k, v in result.items() if k.startswith(FINAL)}
        if kept:
            self._ends[trial_id] = JobEnd(metrics=kept)
        if "epoch" not in result:
            return True
        job, epoch = self._jobs[trial_id], int(result["epoch"])
        goes_on = self._source.epoch_ended(job, epoch, metrics_of(result))
        if not goes_on:
            self._ends[trial_id] = JobEnd()
        return goes_on

    def worker_failed(self, trial_id: str) -> None:
        """Hand the job out again, or end it where its retries are used up.

        To leave a node that is about to be taken away is no failure.
        """
        job = self._jobs.get(trial_id)
        if job is None:
            return
        if trial_id in self._ends:
            self.end(trial_id)  # it died with its work done
        elif trial_id in self.leaving or self._deaths[job.key] < self._retries:
            self._deaths[job.key] += trial_id not in self.leaving
            del self._jobs[trial_id]
            self._source.give_back(job)
        else:
            cause = self.causes.get(trial_id, "the worker process died")
            self._ends[trial_id] = JobEnd(failed=cause, died=True)
            self.end(trial_id)

    def end(self, trial_id: str) -> None:
        """Tell the source of a job's one end; a second call for the same trial does nothing."""
        job = self._jobs.pop(trial_id, None)
        if job is None:
            return
        early = JobEnd(failed="the worker ended without reporting its last epoch", died=True)
        self._source.job_ended(job, self._ends.pop(trial_id, early))


class JobSearcher(Searcher):
    """Hands a source's jobs to Ray."""

    def __init__(self, books: Bookkeeping) -> None:
        super().__init__()
        self._books = books

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next job as a trial's config, None to be asked again, or `FINISHED`."""
        job = self._books.hand_out(trial_id)
        if job is None:
            return None if self._books.may_follow() else Searcher.FINISHED
        return {"job": job}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: the scheduler sees every report, this hook misses a trial's last."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on the end of a job; after an error it may be handed out again."""
        if error:
            self._books.worker_failed(trial_id)
        else:
            self._books.end(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the source is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: what continues, continues from what was stored, never from Ray's files."""
        raise RuntimeError("a search continues from its study; run the same command again")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class JobScheduler(FIFOScheduler):
    """Passes every report on and stops what the source stops."""

    def __init__(self, books: Bookkeeping) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._books = books

    def on_trial_result(
        self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]
    ) -> str:
        """Pass on a report and return whether the trial goes on."""
        goes_on = self._books.report(trial.trial_id, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """Note why a worker failed."""
        super().on_trial_error(tune_controller, trial)
        error = _error_of(trial)
        if error:
            self._books.causes[trial.trial_id] = error.splitlines()[-1]
        if NodeLeavingError.__name__ in error:
            self._books.leaving.add(trial.trial_id)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _error_of(trial: RayTrial) -> str:
    """Return what Ray noted of a trial's last error."""
    file = compat.error_file(trial)
    return file.read_text(encoding="utf-8").strip() if file and file.is_file() else ""
