"""One run of Ray Tune, which holds no state of its own: jobs of one source, by one trainable."""

from __future__ import annotations

import functools
import logging
import secrets
import shutil
import signal
import warnings
from collections.abc import Callable, Sequence

import ray.tune

from refkd.scoped import handlers_kept, log_levels, variables
from tune import compat
from tune.ending.exits import UnfinishedError
from tune.ending.stopping import stopped_calmly
from tune.execution.jobs import JobList, JobListener, TrainingJob, Workplace, interrupted
from tune.execution.searcher import JobScheduler, JobSearcher, JobSource
from tune.execution.worker import train_job

_log = logging.getLogger(__name__)


def train_jobs(
    jobs: Sequence[TrainingJob],
    place: Workplace,
    listener: JobListener,
    *,
    what: str,
    tolerate: bool = False,
) -> dict[str, str]:
    """Train jobs that do not need each other; `what` one of them is stands in messages.

    Raises `UnfinishedError` where one has failed; with `tolerate` returns why, by the key of its
    job. Raises `InterruptedSearchError` after Ctrl-C.
    """
    source = JobList(jobs, listener)
    run_jobs(source, place)
    if source.failures and not tolerate:
        reasons = "; ".join(f"{what} {key}: {reason}" for key, reason in source.failures.items())
        raise UnfinishedError(f"{reasons}; the others are kept, run the same command again")
    if source.left:
        raise interrupted(source.left, len(jobs), f"{what}s")
    return source.failures


def run_jobs(
    source: JobSource, place: Workplace, *, train: Callable[..., None] = train_job
) -> None:
    """Run the jobs of a source until it has no more, each by `train`; return after Ctrl-C too."""
    searcher = JobSearcher(source, retries=place.retries)
    held = {"cpu": place.resources.cpu, "gpu": place.resources.gpu}
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(functools.partial(train, place=place), held),
        tune_config=ray.tune.TuneConfig(
            search_alg=searcher,
            scheduler=JobScheduler(searcher),
            num_samples=-1,
            max_concurrent_trials=place.workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: (
                f"{trial.config['job'].folder.name}-{trial.trial_id}"
            ),
        ),
        run_config=ray.tune.RunConfig(
            name=f"launch-{secrets.token_hex(4)}",
            storage_path=str(place.scratch),
            verbose=0,
            # The source hands a job out again: Ray would leave out a worker that dies between two.
            failure_config=ray.tune.FailureConfig(max_failures=0),
        ),
    )
    try:
        with (
            compat.credentials_withheld(),
            log_levels({"ray.tune": logging.CRITICAL}),
            handlers_kept(signal.SIGINT, signal.SIGUSR1),
            stopped_calmly(compat.end_tune_soon) as heard,
            variables(compat.TUNE_SIGNALS if heard else {}),
            warnings.catch_warnings(),
        ):
            # Ray's own use of deprecated interfaces is nothing a user can mend.
            warnings.simplefilter("ignore")
            tuner.fit()
        if searcher.lost is not None:
            raise searcher.lost
    finally:
        try:
            if place.scratch.exists():
                shutil.rmtree(place.scratch)
        except OSError as error:  # what a late worker holds open must not cost a search its end
            _log.warning("%s is left there (%s); it can be removed by hand", place.scratch, error)
