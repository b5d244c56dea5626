"""The events of a study itself: one class for each kind, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from tune.study.environment import Environment
from tune.study.event_base import EventBase, Metrics, study_events
from tune.study.finalist_events import FinalistEpochEnded, FinalistsBegun, FinalistTrained
from tune.study.trial_events import TrialEvent

Chooser = Literal["search", "finalists"]
"""Which command chose champions."""


class LaunchBegun(EventBase, prefix="launch:", in_key=("number",)):
    """A driver has begun to search; the stamps of all its events hold the launch's number."""

    number: int
    """Counted from 1."""
    begun: float
    """In seconds since 1970."""
    file: dict[str, Any]
    """The study file as it was; empty for a search that has none."""
    search: dict[str, Any] | None = None
    """What the search knew of it (`SearchSpec`); None where it was begun before that was kept."""
    environment: Environment | None = None
    """None in simulations."""


class TeacherTrained(EventBase, prefix="teacher:"):
    """A teacher is trained; its record, which the digest identifies, holds its epochs."""

    role: str
    digest: str = ""
    epoch: int = 0
    """The epoch that was kept."""
    epochs: int | None = None
    """Epochs that were trained."""
    metrics: Metrics = field(default_factory=dict)
    cost: Metrics = field(default_factory=dict)
    """Metrics of its last epoch, whose costs are of all."""
    file: str | None = None
    """sha256 of its record, of which the digest covers weights and network alone."""
    origin: str | None = None
    """Of one that was not trained here: the file that it was imported from, in words."""


class TrialLost(EventBase, prefix="lost:", in_key=("number",)):
    """Another program has ended a trial of the search, which goes on without it."""

    number: int


class TrialRetried(EventBase, prefix="retried:", in_key=("number",)):
    """A failed trial is to be tried again, under another number."""

    number: int


class ChampionsChosen(EventBase, prefix="champions:"):
    """The best trials are chosen, scored and kept."""

    by: Chooser
    champions: dict[str, int]
    """Trial by alias."""
    trials: int
    """Trials that had ended by then."""
    files: dict[str, str] | None = None
    """sha256 of each file that was left of it, by its path in the study's folder."""
    notes: dict[str, str] | None = None
    """sha256 of each attribute of the study that was left of it."""


class LookTaken(EventBase, prefix="look:", in_key=("look",)):
    """The test roles are about to be evaluated; before `LookDone` nothing of it was shown."""

    look: int
    """Counted from 1."""
    row: dict[str, Any] | None = None
    """The row of the ledger, as `tune.study.ledger.Look`; None where an earlier refkd wrote
    the fields below and left the rest to the ledger's file."""
    champions: dict[str, int] = field(default_factory=dict)
    """Trial by alias."""
    user: str = ""
    host: str = ""
    reason: str | None = None


class LookDone(EventBase, prefix="look-done:", in_key=("look",)):
    """An evaluation on the test roles has its results, which nobody has seen before this event."""

    look: int
    row: dict[str, Any]
    """The row of the ledger: of the last of several attempts, where earlier ones were killed."""
    results: dict[str, Any]
    """As `tune.study.outcomes.FinalReport`, without the rows."""


class AliasMoved(EventBase, prefix="alias:"):
    """An alias of the registered model points at another version."""

    moved: float
    """In seconds since 1970."""
    model: str
    alias: str
    version: str
    trial: int
    run: str
    """Key of the run that made the student."""
    reason: str
    before: str | None = None
    """The version that had the alias until then."""
    sha256: str | None = None
    """Of the weights of the version."""
    files: dict[str, str] | None = None
    """Of an alias that was moved by hand, as of `ChampionsChosen`."""


StudyEvent = (
    LaunchBegun
    | TeacherTrained
    | TrialLost
    | TrialRetried
    | ChampionsChosen
    | FinalistsBegun
    | FinalistEpochEnded
    | FinalistTrained
    | LookTaken
    | LookDone
    | AliasMoved
)
Event = TrialEvent | StudyEvent


def teachers_of(attributes: Mapping[str, Any]) -> dict[str, TeacherTrained]:
    """Return the last event of each teacher of a study, by role."""
    return {one.role: one for one in study_events(attributes, TeacherTrained)}


def imported_teachers(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return where each teacher comes from that was not trained here, in words, by role."""
    known = teachers_of(attributes).items()
    return {role: one.origin for role, one in known if one.origin is not None}


def champions_of(attributes: Mapping[str, Any], by: Chooser) -> ChampionsChosen | None:
    """Return the champions that were chosen last; None before that."""
    chosen = [one for one in study_events(attributes, ChampionsChosen) if one.by == by]
    return chosen[-1] if chosen else None


def aliases_of(attributes: Mapping[str, Any]) -> dict[str, AliasMoved]:
    """Return the last move of each alias."""
    moves = sorted(study_events(attributes, AliasMoved), key=lambda move: move.moved)
    return {move.alias: move for move in moves}
