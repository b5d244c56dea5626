"""One run of Ray Tune: jobs of one source, each with what it holds, by one trainable."""

from __future__ import annotations

import functools
import logging
import secrets
import shutil
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import ray.tune

from refkd.scoped import handlers_kept, log_levels
from tune import compat
from tune.execution.dispatch import Bookkeeping, JobScheduler, JobSearcher
from tune.execution.jobs import JobList, JobListener, JobSource, TrainingJob, Workplace
from tune.execution.worker import train_job

_log = logging.getLogger(__name__)


def train_jobs(
    jobs: Sequence[TrainingJob], place: Workplace, listener: JobListener
) -> dict[str, str]:
    """Train jobs that do not need each other; return why some failed, by their key.

    After Ctrl-C it returns with jobs that have neither ended nor failed.
    """
    source = JobList(jobs, listener)
    run_jobs(source, place)
    return source.failures


def run_jobs(
    source: JobSource, place: Workplace, *, train: Callable[..., None] = train_job
) -> None:
    """Run the jobs of a source until it has no more, each by `train`; return after Ctrl-C too."""
    books = Bookkeeping(source, retries=place.retries)
    held = {"cpu": place.resources.cpu, "gpu": place.resources.gpu}
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(functools.partial(train, place=place), held),
        tune_config=ray.tune.TuneConfig(
            search_alg=JobSearcher(books),
            scheduler=JobScheduler(books),
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
            warnings.catch_warnings(),
        ):
            # Ray's own use of deprecated interfaces is nothing a user can mend.
            warnings.simplefilter("ignore")
            tuner.fit()
    finally:
        _remove(place.scratch)


def _remove(scratch: Path) -> None:
    """Remove what Ray wrote; what a late worker holds open must not cost a search its end."""
    try:
        if scratch.exists():
            shutil.rmtree(scratch)
    except OSError as error:
        _log.warning("%s is left there (%s); it can be removed by hand", scratch, error)
