"""What MLflow should hold, piece by piece: each operation has a key and may be written twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from refkd.files import sha256_file

STUDY_RUN = "study"
"""Key of the run that is the parent of all others."""
SETTINGS = "settings.yaml"
"""File of a student's run: all its settings by their dotted keys, searched or not."""
KEPT = "kept/"
"""Begins the names of a run's scores of the epoch that was kept."""
NOTE_TAG = "mlflow.note.content"
"""Tag that holds the description of a run, or of an experiment, in MLflow."""
Input = dict[str, str]
"""A dataset of MLflow: name, digest, source, profile, context."""
Status = Literal["FINISHED", "FAILED", "KILLED"]


def trial_key(number: int) -> str:
    """Return the key under which a trial's run is found again."""
    return f"trial/{number:04d}"


def finalist_key(number: int, replicate: int) -> str:
    """Return the key under which the run of a finalist's student is found again."""
    return f"finalist/{number:04d}/seed-{replicate}"


class RefusedError(Exception):
    """An operation that a server will never take, however often it is sent."""


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """What all kinds of operation have in common."""

    IN_KEY: ClassVar[tuple[str, ...]] = ("run",)
    run: str
    """Key of the run in its study, such as `trial/0003`; it is the same in every launch."""
    time: int
    """In milliseconds since 1970."""

    @property
    def key(self) -> str:
        """What it writes: a later operation with the same key replaces it."""
        return "/".join([type(self).__name__, *(str(getattr(self, n)) for n in self.IN_KEY)])

    @cached_property
    def digest(self) -> str:
        """A hash over everything but the time, by which a repeated operation is recognised."""
        facts = {name: value for name, value in asdict(self).items() if name != "time"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class BeginRun(_Operation):
    """Create a run, or continue it, and name its inputs."""

    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    parent: str = STUDY_RUN
    datasets: Sequence[Input] = ()
    models: Sequence[str] = ()
    """By their digests."""


@dataclass(frozen=True, kw_only=True)
class LogEpoch(_Operation):
    """Log the metrics of an epoch, counted from 1."""

    IN_KEY: ClassVar[tuple[str, ...]] = ("run", "epoch")
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class KeepFile(_Operation):
    """Store a copy of a file with a run, in a folder of the run or at its top."""

    IN_KEY: ClassVar[tuple[str, ...]] = ("run", "path")
    path: str
    folder: str | None
    sha256: str


@dataclass(frozen=True, kw_only=True)
class KeepSettings(_Operation):
    """Store all settings of a run as a file, by their dotted keys."""

    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KeepView(_Operation):
    """Keep what MLflow's list of runs shows under a name, in the experiment."""

    IN_KEY: ClassVar[tuple[str, ...]] = ("run", "name")
    name: str
    content: str


@dataclass(frozen=True, kw_only=True)
class KeepModel(_Operation):
    """Store the network of an epoch of a run as a logged model, with its scores on a dataset."""

    name: str
    paths: list[str]
    model_type: Literal["teacher", "student"]
    sha256: str
    """Identifies it among all models of the study."""
    epoch: int
    """Whose scores they are; 0 where they are those of the run's end."""
    metrics: Mapping[str, float]
    dataset: Input
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class EndRun(_Operation):
    """Close a run; `metrics` describe the run as a whole."""

    status: Status
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


Operation = BeginRun | LogEpoch | KeepFile | KeepSettings | KeepView | KeepModel | EndRun


def kept_file(run: str, path: Path, folder: str | None, *, at: float) -> KeepFile:
    """Return the operation that stores a copy of a file as it is now; `at` is in seconds."""
    return KeepFile(
        run=run,
        time=milliseconds(at),
        path=str(path.absolute()),
        folder=folder,
        sha256=sha256_file(path),
    )


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as MLflow stores parameters."""
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}


def kept_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the validation scores of the weights that were kept, named `kept/...`."""
    return {f"{KEPT}{name}": value for name, value in validation(metrics).items()}


def validation(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of the validation roles."""
    return {name: value for name, value in metrics.items() if name.startswith("val_")}


def milliseconds(seconds: float) -> int:
    """Return a time as MLflow stores it."""
    return round(1000 * seconds)
