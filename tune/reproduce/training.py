"""Training what a table lacks: teachers, then students, each kind side by side."""

from __future__ import annotations

from collections.abc import Mapping

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.execution.cluster import ray_session
from tune.execution.jobs import JobEnd, JobListener, TrainingJob, Workplace, interrupted
from tune.execution.progress import Reporter, scores_text
from tune.reproduce.request import Request
from tune.reproduce.tracking import TableRecord
from tune.reproduce.units import Unit, Units


def train(
    request: Request,
    units: Units,
    dataset: Dataset,
    record: TableRecord,
    address: str | None,
    reporter: Reporter,
) -> None:
    """Train teachers, then students; networks of earlier calls are kept."""
    place = Workplace(
        dataset=request.dataset.absolute(),
        fingerprint=dataset.fingerprint,
        knowledge=request.workspace.absolute() / "knowledge",
        scratch=request.home / "ray",
        resources=request.resources,
        workers=request.workers,
    )
    if units.left():
        with ray_session(request.resources, address=address):
            for students in (False, True):
                left = [unit for unit in units.left() if bool(unit.teachers) == students]
                if left:
                    _train_some(left, place, record, reporter)
    for unit in units.all():
        record.unit_ended(unit, unit.frozen().record.metrics, None)


def _train_some(
    left: list[Unit], place: Workplace, record: TableRecord, reporter: Reporter
) -> None:
    from tune.execution.training import train_jobs

    what = "students" if left[0].teachers else "teachers"
    reporter.stage(f"training {len(left)} {what}, {sum(unit.epochs for unit in left)} epochs")
    failures = train_jobs([unit.job() for unit in left], place, _Publisher(left, record, reporter))
    if failures:
        said = "; ".join(f"{key}: {reason}" for key, reason in failures.items())
        raise RefKDError(f"{said}; the others are kept, run the same command again")
    waiting = sum(not unit.is_done for unit in left)
    if waiting:
        raise interrupted(waiting, len(left), what)


class _Publisher(JobListener):
    """Tells MLflow and the terminal of the networks of a table."""

    def __init__(self, units: list[Unit], record: TableRecord, reporter: Reporter) -> None:
        self._units = {unit.key: unit for unit in units}
        self._record, self._reporter = record, reporter

    def job_started(self, job: TrainingJob) -> None:
        """Open a network's run."""
        self._record.unit_begun(self._units[job.key])

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch, and print the scores of the last."""
        unit = self._units[job.key]
        self._record.epoch(unit, epoch, metrics)
        if epoch == unit.epochs:
            self._reporter.stage(f"{unit.key}: {scores_text(metrics)}")

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        """Close the run of a network that failed; the others are told of when all are trained."""
        if end.failed is not None:
            self._record.unit_ended(self._units[job.key], {}, end.failed)
