"""The events of finalists, which are trained again on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune.study.environment import Environment
from tune.study.event_base import EventBase, Metrics, study_events


class FinalistsBegun(EventBase, prefix="finals:"):
    """Trials have been picked to be trained again on fresh seeds."""

    begun: float
    """In seconds since 1970."""
    trials: list[int]
    seeds: list[int]
    environment: Environment


class FinalistEpochEnded(
    EventBase, prefix="finalist-epoch:", in_key=("trial", "replicate", "epoch")
):
    """A student of a finalist has trained an epoch, counted from 1."""

    trial: int
    replicate: int
    epoch: int
    at: float
    """In seconds since 1970."""
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """The result of a finalist's student of one seed: metrics and weights, or why it failed."""

    seed: int
    epochs: int = 0
    """Epochs it trained."""
    metrics: Metrics = field(default_factory=dict)
    """Of the epoch that was kept; its costs are those of the whole training."""
    sha256: str | None = None
    """Of its weights."""
    failed: str | None = None


class FinalistTrained(SeedResult, EventBase, prefix="finalist:", in_key=("trial", "replicate")):
    """Training a student of a finalist has ended."""

    trial: int
    replicate: int
    """Which of the fresh seeds, counted from 0."""
    record: str | None = None
    """sha256 of the student's record."""


def finalists_code(attributes: Mapping[str, Any]) -> Environment | None:
    """Return the code and versions of the last training of finalists; None before any."""
    begun = study_events(attributes, FinalistsBegun)
    return begun[-1].environment if begun else None
