"""Who trains the finalists' students, and who is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tune.execution.cluster import ray_session
from tune.execution.jobs import Job
from tune.finals.choice import FinalistRun


class FinalistListener(Protocol):
    """Whoever is told what becomes of the finalists' students."""

    def begun(self, run: FinalistRun) -> None: ...
    def epoch(self, run: FinalistRun, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def trained(self, run: FinalistRun, epochs: int, metrics: Mapping[str, float]) -> None: ...
    def failed(self, run: FinalistRun, reason: str) -> None: ...


class FinalistTrainer(Protocol):
    """Trains students and tells a listener of each; returns why a worker died, by its run."""

    def __call__(
        self,
        job: Job,
        runs: Sequence[FinalistRun],
        listener: FinalistListener,
        *,
        address: str | None,
    ) -> dict[FinalistRun, str]: ...


def train_with_ray(
    job: Job, runs: Sequence[FinalistRun], listener: FinalistListener, *, address: str | None
) -> dict[FinalistRun, str]:
    """Train students as one run of Ray Tune: a `FinalistTrainer`."""
    with ray_session(job.study.resources, address=address):
        from tune.finals.ray_run import run_finalists

        for run in runs:
            listener.begun(run)
        return run_finalists(job, runs, listener)
