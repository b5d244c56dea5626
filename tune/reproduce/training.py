"""Training what a table lacks: teachers, then students, each kind side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from refkd.data.dataset import Dataset
from tune.execution.cluster import ray_session
from tune.execution.jobs import InterruptedSearchError
from tune.execution.progress import Reporter
from tune.reproduce.record import TableRecord
from tune.reproduce.request import ReproduceError, Request
from tune.reproduce.units import Unit, Units

if TYPE_CHECKING:
    from tune.execution.networks import Network


def train(
    request: Request,
    units: Units,
    dataset: Dataset,
    record: TableRecord,
    address: str | None,
    reporter: Reporter,
) -> None:
    """Train teachers, then students; networks of earlier calls are kept."""
    if units.left():
        with ray_session(request.resources, address=address):
            for students in (False, True):
                left = [unit for unit in units.left() if bool(unit.teachers) == students]
                if left:
                    _train_some(request, left, dataset, record, reporter)
    for unit in units.all():
        record.unit_ended(unit, unit.frozen().record.metrics, None)


def _train_some(
    request: Request,
    left: list[Unit],
    dataset: Dataset,
    record: TableRecord,
    reporter: Reporter,
) -> None:
    from tune.execution.networks import train_networks, work_on

    what = "students" if left[0].teachers else "teachers"
    epochs = sum(unit.epochs for unit in left)
    reporter.stage(f"training {len(left)} {what}, {epochs} epochs")
    by_key = {unit.key: unit for unit in left}
    for unit in left:
        record.unit_begun(unit)

    def told(key: str, epoch: int, metrics: Mapping[str, float]) -> None:
        unit = by_key[key]
        record.epoch(unit, epoch, metrics)
        if epoch == unit.epochs:
            reporter.stage(
                f"{unit.key}: ID mIoU {metrics['val_id/miou']:.2f}, OOD mIoU "
                f"{metrics['val_ood/miou']:.2f}"
            )

    failures = train_networks(
        [_network(unit) for unit in left],
        work_on(
            request.dataset,
            dataset,
            request.workspace,
            request.resources,
            scratch=request.home / "ray",
        ),
        request.resources,
        workers=request.workers,
        told=told,
    )
    for unit in left:
        if unit.key in failures:
            record.unit_ended(unit, {}, failures[unit.key])
    if failures:
        said = "; ".join(f"{key}: {reason}" for key, reason in failures.items())
        raise ReproduceError(f"{said}; the others are kept, run the same command again")
    waiting = sum(not unit.is_done for unit in left)
    if waiting:
        raise InterruptedSearchError(
            f"stopped with {waiting} of {len(left)} {what} left; run the same command again to "
            "continue"
        )


def _network(unit: Unit) -> Network:
    from tune.execution.networks import Network

    teachers = {role: teacher.folder for role, teacher in unit.teachers.items()}
    return Network(key=unit.key, config=unit.config, folder=unit.folder, teachers=teachers)
