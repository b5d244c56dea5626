"""Every kind of event of a study: one class each, with how it is stored and read.

An event of a trial is a user attribute of the trial, an event of the study one of the study. The
attribute's key holds the kind and the numbers that identify the event, its value all other
fields. The stamp gives its place in the study's one order (`tune.study.event_log`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self, TypeVar, dataclass_transform, get_args

from pydantic import TypeAdapter

from tune.config.space import Values
from tune.study.environment import Environment
from tune.study.view import ASKED, ENDED, EPOCH, PROMOTION, RUNG, STAMP, Action

Metrics = dict[str, float]
Chooser = Literal["search", "finalists"]
"""Which command chose champions."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class _Event:
    """Base of all kinds, which makes each a frozen dataclass.

    The key of an event is the `PREFIX` of its kind, followed by the fields `IN_KEY`.
    """

    PREFIX: ClassVar[str]
    IN_KEY: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, *, prefix: str, in_key: tuple[str, ...] = ()) -> None:
        cls.PREFIX, cls.IN_KEY = prefix, in_key
        dataclass(frozen=True, kw_only=True)(cls)

    @property
    def key(self) -> str:
        """The attribute that holds the event."""
        numbers: list[int] = [getattr(self, name) for name in self.IN_KEY]
        return self.PREFIX + ":".join([f"{n:04d}" for n in numbers[:1]] + [*map(str, numbers[1:])])

    def content(self) -> dict[str, Any]:
        """Return the fields to store, as JSON values, without those that are None.

        NaN and infinities become strings; among `Metrics` they are read as numbers again.
        """
        facts = {k: v for k, v in vars(self).items() if k not in self.IN_KEY and v is not None}
        return dict(json.loads(json.dumps(facts, default=asdict), parse_constant=str))

    @classmethod
    def read(cls, key: str, content: Mapping[str, Any]) -> Self:
        """Return the event that an attribute holds; unknown fields are ignored."""
        numbers = key.removeprefix(cls.PREFIX).split(":") if cls.IN_KEY else []
        facts = {**content, **dict(zip(cls.IN_KEY, map(int, numbers), strict=True))}
        read: Self = _reader(cls).validate_python(facts)  # type: ignore[arg-type]
        return read


@functools.cache
def _reader(kind: type[_Event]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


# Events of a trial -------------------------------------------------------------------------------


class TrialAsked(_Event, prefix=ASKED):
    """The sampler has given a trial its values."""

    values: Values


class EpochEnded(_Event, prefix=EPOCH, in_key=("epoch",)):
    """A trial has trained an epoch, counted from 1."""

    epoch: int
    metrics: Metrics

    def content(self) -> dict[str, Any]:
        """Return the metrics, which are all that is stored."""
        return dict(self.metrics)

    @classmethod
    def read(cls, key: str, content: Mapping[str, Any]) -> Self:
        """Return the event that an attribute holds."""
        return cls(epoch=int(key.removeprefix(cls.PREFIX)), metrics=dict(content))


class RungJudged(_Event, prefix=RUNG, in_key=("epoch",)):
    """The pruner has decided about a trial at a rung."""

    epoch: int
    action: Action
    better: int | None = None
    """Trials at the rung that rank strictly before it."""
    among: int | None = None
    """Trials compared at the rung, this one included."""
    written: dict[str, Any] | None = None
    """Attributes that a pruner of Optuna's stored in the trial."""


class TrialPromoted(_Event, prefix=PROMOTION, in_key=("epoch",)):
    """A trial that was paused at a rung goes on."""

    epoch: int
    better: int
    among: int


class TrialEnded(_Event, prefix=ENDED):
    """A trial has an outcome."""

    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    values: list[float] | None = None
    """The objectives of a complete trial."""
    final: Metrics | None = None
    """Metrics of the weights that a complete trial has kept."""
    violations: Metrics | None = None
    """How far a complete trial misses each bound; above 0 is missed."""


TrialEvent = TrialAsked | EpochEnded | RungJudged | TrialPromoted | TrialEnded


# Events of the study -----------------------------------------------------------------------------


class LaunchBegun(_Event, prefix="launch:", in_key=("number",)):
    """A driver has begun to search; the stamps of all its events hold the launch's number."""

    number: int
    """Counted from 1."""
    begun: float
    """In seconds since 1970."""
    file: dict[str, Any]
    """The study file as it was."""
    environment: Environment | None = None
    """None in simulations."""


class TeacherTrained(_Event, prefix="teacher:"):
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


class ChampionsChosen(_Event, prefix="champions:"):
    """The best trials are chosen, scored and kept."""

    by: Chooser
    champions: dict[str, int]
    """Trial by alias."""
    trials: int
    """Trials that had ended by then."""


class FinalistsBegun(_Event, prefix="finals:"):
    """Trials have been picked to be trained again on fresh seeds."""

    begun: float
    """In seconds since 1970."""
    trials: list[int]
    seeds: list[int]
    environment: Environment


class FinalistEpochEnded(_Event, prefix="finalist-epoch:", in_key=("trial", "replicate", "epoch")):
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


class FinalistTrained(SeedResult, _Event, prefix="finalist:", in_key=("trial", "replicate")):
    """Training a student of a finalist has ended."""

    trial: int
    replicate: int
    """Which of the fresh seeds, counted from 0."""


class LookTaken(_Event, prefix="look:", in_key=("look",)):
    """The test roles are about to be evaluated; the ledger holds the whole row."""

    look: int
    """Counted from 1."""
    champions: dict[str, int] = field(default_factory=dict)
    """Trial by alias."""
    user: str = ""
    host: str = ""
    reason: str | None = None


class AliasMoved(_Event, prefix="alias:"):
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


StudyEvent = (
    LaunchBegun
    | TeacherTrained
    | ChampionsChosen
    | FinalistsBegun
    | FinalistEpochEnded
    | FinalistTrained
    | LookTaken
    | AliasMoved
)
Event = TrialEvent | StudyEvent
Kind = TypeVar("Kind", bound=_Event)

_OF_TRIALS: tuple[type[TrialEvent], ...] = get_args(TrialEvent)


def trial_event(key: str, content: Mapping[str, Any]) -> TrialEvent:
    """Return the event that an attribute of a trial holds, without its stamp."""
    return next(kind for kind in _OF_TRIALS if key.startswith(kind.PREFIX)).read(key, content)


def study_events(attributes: Mapping[str, Any], kind: type[Kind]) -> list[Kind]:
    """Return the events of a kind among a study's attributes, in their order."""
    keys = [key for key in attributes if key.startswith(kind.PREFIX)]
    keys.sort(key=lambda key: (attributes[key].get(STAMP, [0])[0], key))
    return [kind.read(key, attributes[key]) for key in keys]


def key_for(event: StudyEvent, keys: Iterable[str]) -> str:
    """Return the attribute to hold an event, given the study's keys: its own or the next free."""
    if event.IN_KEY:
        return event.key
    known = sum(key.startswith(event.PREFIX) for key in keys)
    return f"{event.PREFIX}{known + 1:04d}"


def teachers_of(attributes: Mapping[str, Any]) -> dict[str, TeacherTrained]:
    """Return the last event of each teacher of a study, by role."""
    return {one.role: one for one in study_events(attributes, TeacherTrained)}


def champions_of(attributes: Mapping[str, Any], by: Chooser) -> ChampionsChosen | None:
    """Return the champions that were chosen last; None before that."""
    chosen = [one for one in study_events(attributes, ChampionsChosen) if one.by == by]
    return chosen[-1] if chosen else None


def aliases_of(attributes: Mapping[str, Any]) -> dict[str, AliasMoved]:
    """Return the last move of each alias."""
    moves = sorted(study_events(attributes, AliasMoved), key=lambda move: move.moved)
    return {move.alias: move for move in moves}


def finalists_code(attributes: Mapping[str, Any]) -> Environment | None:
    """Return the code and versions of the last training of finalists; None before any."""
    begun = study_events(attributes, FinalistsBegun)
    return begun[-1].environment if begun else None


def looks_of(attributes: Mapping[str, Any]) -> int:
    """Return how many evaluations on the test roles a study knows of."""
    return max((one.look for one in study_events(attributes, LookTaken)), default=0)
