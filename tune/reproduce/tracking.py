"""What MLflow should hold of a reproduction: a run a network, below the table's own run.

A reproduction has no study: what stands in MLflow follows from the networks' folders. Each keeps
its epochs there, with their times, as they are trained.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from refkd.data.dataset import Dataset
from refkd.files import replaced, write_json
from tune.config.space import flat
from tune.reproduce.units import Unit
from tune.study.environment import environment
from tune.study.locate import default_tracking
from tune.tracking.delivery import Delivery
from tune.tracking.operations import (
    STUDY_RUN,
    BeginRun,
    EndRun,
    LogEpoch,
    Operation,
    Status,
)
from tune.tracking.projection import as_text, kept_file, kept_scores
from tune.tracking.record import CLOSE_SECONDS, warn_of
from tune.tracking.target import Target, client_settings, local_artifacts, owner_of

EPOCHS = "epochs.json"
"""In a network's folder: metrics and time of each epoch."""
_log = logging.getLogger(__name__)


class TableRecord:
    """Keeps MLflow up to date while the networks of a table are trained."""

    def __init__(self, name: str, workspace: Path, home: Path, *, uri: str | None) -> None:
        """`home` is the table's own folder."""
        place = uri or default_tracking(workspace)
        self._name = name
        self._target = Target(
            uri=place,
            experiment="refkd/reproduce",
            artifact_root=local_artifacts(place, workspace),
            folder=home / "tracking",
            owner=owner_of(name, _identity(home)),
        )
        self._lock = Lock()
        self._operations: dict[str, Operation] = {}
        self._tags: dict[str, str] = {}
        self._epochs: dict[str, dict[str, Any]] = {}
        """Metrics and time by network and epoch."""

    def __enter__(self) -> Self:
        self._settings = ExitStack()
        self._settings.enter_context(client_settings())
        self._delivery: Delivery = self._target.delivery(lambda: self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._settings:
            self._end(STUDY_RUN, "FINISHED" if kind is None else "KILLED", {}, {})
            warn_of(self._delivery.close(CLOSE_SECONDS), self._target)

    def news(self) -> list[Operation]:
        """Return all that should stand in MLflow by now."""
        with self._lock:
            return list(self._operations.values())

    def rewind(self) -> None:
        """Do nothing: each call returns all of it."""

    def begun(self, dataset: Dataset, parameters: Mapping[str, str], files: list[Path]) -> None:
        """Open the table's run."""
        self._tags = {
            "refkd.dataset": dataset.name,
            "refkd.dataset_fingerprint": dataset.fingerprint,
            **environment().tags(),
        }
        own = {"refkd.study": self._name, "refkd.role": "study", "refkd.launched": _now()}
        self._begin(STUDY_RUN, self._name, parameters, {**self._tags, **own})
        self._put(*(kept_file(STUDY_RUN, path, None, at=time.time()) for path in files))

    def unit_begun(self, unit: Unit) -> None:
        """Open a network's run, or go on with it."""
        role = "student" if unit.teachers else "teacher"
        tags = {**self._tags, "refkd.role": role, "refkd.row": unit.row}
        settings = as_text(flat(unit.config.model_dump(mode="json")))
        self._begin(_key(unit), unit.key, settings, tags)
        self._put(*_operations(unit, self._epochs_of(unit)))

    def epoch(self, unit: Unit, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep an epoch in the network's folder, once, and log it; a full disk stops nothing."""
        held = self._epochs_of(unit)
        if str(epoch) in held:
            return
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        held[str(epoch)] = {"at": time.time(), "metrics": finite}
        try:
            write_json(unit.folder / EPOCHS, held)
        except OSError as error:
            _log.warning("%s; if this run is cut off, MLflow may lack epochs of it", error)
        self._put(*_operations(unit, {str(epoch): held[str(epoch)]}))

    def unit_ended(self, unit: Unit, metrics: Mapping[str, float], failed: str | None) -> None:
        """Close a network's run."""
        if f"{BeginRun.__name__}/{_key(unit)}" not in self._operations:
            self.unit_begun(unit)
        tags = {"refkd.reason": failed} if failed else {}
        self._end(_key(unit), "FAILED" if failed else "FINISHED", tags, kept_scores(metrics))

    def artifacts(self, paths: list[Path]) -> None:
        """Keep the results with the table's run."""
        self._put(*(kept_file(STUDY_RUN, path, "results", at=time.time()) for path in paths))

    def _epochs_of(self, unit: Unit) -> dict[str, Any]:
        """Return what is known of a network's epochs, read from its folder once."""
        key = _key(unit)
        if key not in self._epochs:
            self._epochs[key] = _held(unit.folder / EPOCHS)
        return self._epochs[key]

    def _begin(
        self, run: str, name: str, params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        at = round(1000 * time.time())
        self._put(BeginRun(run=run, time=at, name=name, params=dict(params), tags=dict(tags)))

    def _end(
        self, run: str, status: Status, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> None:
        at = round(1000 * time.time())
        self._put(EndRun(run=run, time=at, status=status, tags=tags, metrics=metrics))

    def _put(self, *operations: Operation) -> None:
        with self._lock:
            for one in operations:
                self._operations.pop(one.key, None)  # an end comes behind what was put before it
                self._operations[one.key] = one
        self._delivery.wake()


def _identity(home: Path) -> str:
    """Return what tells this table's runs from those of another one of its name."""
    path = home / "identity"
    if not path.is_file():
        older = home / "spool" / "identity"  # where an earlier version kept it
        known = older.read_text(encoding="ascii") if older.is_file() else secrets.token_hex(6)
        with replaced(path) as temporary:
            temporary.write_text(known, encoding="ascii")
    return path.read_text(encoding="ascii")


def _held(path: Path) -> dict[str, Any]:
    """Return the epochs in a file; none where it is not there, or damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        _log.warning("%s is damaged (%s); MLflow may lack epochs of it", path, error)
        return {}


def _operations(unit: Unit, epochs: Mapping[str, Any]) -> list[LogEpoch]:
    return [
        LogEpoch(
            run=_key(unit),
            time=round(1000 * facts["at"]),
            epoch=int(epoch),
            metrics=facts["metrics"],
        )
        for epoch, facts in sorted(epochs.items(), key=lambda item: int(item[0]))
    ]


def _key(unit: Unit) -> str:
    return f"unit/{unit.folder.name}"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
