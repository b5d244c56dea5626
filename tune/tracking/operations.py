"""What should stand in MLflow, piece by piece: each has a key, and may be written twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

STUDY_RUN = "study"
"""Key of the run that is the parent of all others."""
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
    """What all kinds share; a run is named by a key that is the same in every launch."""

    run: str
    """Key of the run in its study, such as `trial/0003`."""
    time: int
    """In milliseconds since 1970."""

    @property
    def key(self) -> str:
        """What it is about: another one with this key replaces it."""
        return f"{type(self).__name__}/{self.run}"

    @cached_property
    def digest(self) -> str:
        """A hash over all but the time: the same for one that says nothing new."""
        facts = {name: value for name, value in asdict(self).items() if name != "time"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class BeginRun(_Operation):
    """A run is there and goes on."""

    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    parent: str = STUDY_RUN


@dataclass(frozen=True, kw_only=True)
class LogEpoch(_Operation):
    """A run holds the metrics of an epoch, counted from 1."""

    epoch: int
    metrics: Mapping[str, float]

    @property
    def key(self) -> str:
        """What it is about."""
        return f"{super().key}/{self.epoch}"


@dataclass(frozen=True, kw_only=True)
class KeepFile(_Operation):
    """A run holds a copy of a file, in a folder of the run or at its top."""

    path: str
    folder: str | None
    sha256: str

    @property
    def key(self) -> str:
        """What it is about."""
        return f"{super().key}/{self.path}"


@dataclass(frozen=True, kw_only=True)
class LinkInputs(_Operation):
    """A run names what went into it: datasets, and models by their digests."""

    datasets: list[Input]
    models: list[str]


@dataclass(frozen=True, kw_only=True)
class KeepModel(_Operation):
    """What a run made at an epoch is a logged model, with its scores on a dataset."""

    name: str
    paths: list[str]
    model_type: Literal["teacher", "student"]
    sha256: str
    """Says which one it is, among all of the study."""
    epoch: int
    metrics: Mapping[str, float]
    dataset: Input
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class EndRun(_Operation):
    """A run is closed; `metrics` are of the whole run."""

    status: Status
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


Operation = BeginRun | LogEpoch | KeepFile | LinkInputs | KeepModel | EndRun
