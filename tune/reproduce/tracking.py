"""What MLflow should hold of a table: a run a network, below the table's own run.

A table has no study: what stands in MLflow follows from the networks' folders. Each keeps its
epochs there, with their times, as they are trained.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

from refkd.data.dataset import Dataset
from refkd.files import replaced, write_json
from refkd.urls import Url
from tune.config.space import flat
from tune.execution.jobs import JobEnd, JobListener, TrainingJob
from tune.execution.progress import Reporter, scores_text
from tune.reproduce.request import Request
from tune.reproduce.units import Unit
from tune.study.environment import environment
from tune.study.locate import default_tracking
from tune.tracking import operations as op
from tune.tracking.delivery import Delivery
from tune.tracking.record import CLOSE_SECONDS, warn_of
from tune.tracking.target import Target

EPOCHS = "epochs.json"
"""In a network's folder: metrics and time of each epoch."""
_log = logging.getLogger(__name__)


class TableRecord(JobListener):
    """Keeps MLflow up to date while the networks of a table are trained."""

    def __init__(self, request: Request, units: Sequence[Unit], reporter: Reporter) -> None:
        target = Target(
            uri=tracking_of(request),
            experiment="refkd/reproduce",
            study=request.title,
            identity=_identity(request.home),
            workspace=request.workspace,
            folder=request.home / "tracking",
        )
        self._name, self._reporter = request.title, reporter
        self._units = {unit.key: unit for unit in units}
        self._lock = Lock()
        self._operations: dict[str, op.Operation] = {}
        self._epochs: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, str] = {}
        self._delivery = Delivery(target, lambda: self.news)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end(op.STUDY_RUN, "FINISHED" if kind is None else "KILLED", {}, {})
        warn_of(self._delivery.close(CLOSE_SECONDS), self._delivery.target)

    def news(self) -> list[op.Operation]:
        """Return all that should stand in MLflow by now."""
        with self._lock:
            return list(self._operations.values())

    def begin(self, dataset: Dataset, parameters: Mapping[str, str]) -> None:
        """Open the table's run."""
        self._tags = {
            "refkd.dataset": dataset.name,
            "refkd.dataset_fingerprint": dataset.fingerprint,
            **environment().tags("refkd reproduce"),
        }
        launched = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        own = {"refkd.study": self._name, "refkd.role": "study", "refkd.launched": launched}
        self._begin(op.STUDY_RUN, self._name, parameters, own)

    def keep(self, files: Sequence[Path], folder: str | None) -> None:
        """Keep files with the table's run, in a folder of it or at its top."""
        self._put(*(op.kept_file(op.STUDY_RUN, path, folder, at=time.time()) for path in files))

    def job_started(self, job: TrainingJob) -> None:
        """Open a network's run, or go on with it."""
        unit = self._units[job.key]
        role = "student" if unit.teachers else "teacher"
        params = op.as_text(flat(unit.config.model_dump(mode="json")))
        self._begin(_key(unit), unit.key, params, {"refkd.role": role, "refkd.row": unit.row})
        self._put(*_logged(unit, self._epochs_of(unit)))

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep an epoch in the network's folder, once, and log it; a full disk stops nothing."""
        unit = self._units[job.key]
        known = self._epochs_of(unit)
        if str(epoch) not in known:
            finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
            known[str(epoch)] = {"at": time.time(), "metrics": finite}
            try:
                write_json(unit.folder / EPOCHS, known)
            except OSError as error:
                _log.warning("%s; if this run is cut off, MLflow may lack epochs of it", error)
            self._put(*_logged(unit, {str(epoch): known[str(epoch)]}))
        if epoch == unit.config.total_epochs():
            self._reporter.stage(f"{unit.key}: {scores_text(metrics)}")

    def _epochs_of(self, unit: Unit) -> dict[str, Any]:
        """Return what is known of a network's epochs, also where its folder takes no file."""
        if unit.key not in self._epochs:
            self._epochs[unit.key] = _known_epochs(unit)
        return self._epochs[unit.key]

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        """Close the run of a network that failed; the others are closed when all are trained."""
        if end.failed is not None:
            self._end(_key(self._units[job.key]), "FAILED", {"refkd.reason": end.failed}, {})

    def trained(self, unit: Unit) -> None:
        """Close the run of a network, which another table may have trained."""
        if f"{op.BeginRun.__name__}/{_key(unit)}" not in self._operations:
            self.job_started(unit.job())
        self._end(_key(unit), "FINISHED", {}, op.kept_scores(unit.frozen().record.metrics))

    def _end(
        self, run: str, status: op.Status, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> None:
        now = op.milliseconds(time.time())
        self._put(op.EndRun(run=run, time=now, status=status, tags=tags, metrics=metrics))

    def _begin(
        self, run: str, name: str, params: Mapping[str, str], own: Mapping[str, str]
    ) -> None:
        now, tags = op.milliseconds(time.time()), {**self._tags, **own}
        self._put(op.BeginRun(run=run, time=now, name=name, params=params, tags=tags))

    def _put(self, *operations: op.Operation) -> None:
        with self._lock:
            for one in operations:
                self._operations.pop(one.key, None)  # an end comes behind what was put before it
                self._operations[one.key] = one
        self._delivery.wake()


def tracking_of(request: Request) -> Url:
    """Return where the record of a table is kept."""
    return request.tracking or default_tracking(request.workspace)


def _identity(home: Path) -> str:
    """Return the identity of this table, by which its runs differ from a namesake's."""
    path = home / "identity"
    if not path.is_file():
        with replaced(path) as temporary:
            temporary.write_text(secrets.token_hex(6), encoding="ascii")
    return path.read_text(encoding="ascii")


def _known_epochs(unit: Unit) -> dict[str, Any]:
    """Return the epochs that a network's folder holds; none where the file is damaged."""
    path = unit.folder / EPOCHS
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        _log.warning("%s is damaged (%s); MLflow may lack epochs of it", path, error)
        return {}


def _logged(unit: Unit, epochs: Mapping[str, Any]) -> list[op.LogEpoch]:
    """Return the epochs as operations."""
    run, numbered = _key(unit), {int(epoch): held for epoch, held in epochs.items()}
    return [
        op.LogEpoch(
            run=run, time=op.milliseconds(held["at"]), epoch=epoch, metrics=held["metrics"]
        )
        for epoch, held in sorted(numbered.items())
    ]


def _key(unit: Unit) -> str:
    return f"unit/{unit.folder.name}"
