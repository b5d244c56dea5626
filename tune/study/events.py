"""Everything that can happen to a study: a class a kind, as it is stored and read again.

An event of a trial is one of the trial's attributes, an event of the study one of the study's. Its
key says which kind it is and the numbers that tell it from others of its kind, its content all
the rest. The place of an event in the study's order is its stamp (`tune.study.event_log`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import TypeAdapter

from tune.config.space import Values
from tune.study.environment import Environment
from tune.study.view import ASKED, ENDED, EPOCH, PROMOTION, RUNG, STAMP, Action, read_stamp

Metrics = dict[str, float]
Chooser = Literal["search", "finalists"]
"""Whoever chose champions."""


@dataclass(frozen=True, kw_only=True)
class _Event:
    """What all kinds share: `PREFIX` begins the key, the fields `IN_KEY` end it."""

    PREFIX: ClassVar[str]
    IN_KEY: ClassVar[tuple[str, ...]] = ()

    @property
    def key(self) -> str:
        """The attribute that holds the event."""
        numbers: list[int] = [getattr(self, name) for name in self.IN_KEY]
        return self.PREFIX + ":".join([f"{n:04d}" for n in numbers[:1]] + [*map(str, numbers[1:])])

    def content(self) -> dict[str, Any]:
        """Return what is stored, as JSON gives it back; what is None is left out.

        Numbers that are not finite become their names; those among `Metrics` are read as numbers
        again.
        """
        facts = {k: v for k, v in asdict(self).items() if k not in self.IN_KEY and v is not None}
        return dict(json.loads(json.dumps(facts), parse_constant=str))

    @classmethod
    def read(cls, key: str, content: Mapping[str, Any]) -> Self:
        """Return the event that an attribute holds; facts that are not known here are left out."""
        numbers = key.removeprefix(cls.PREFIX).split(":") if cls.IN_KEY else []
        facts = {**content, **dict(zip(cls.IN_KEY, map(int, numbers), strict=True))}
        read: Self = _reader(cls).validate_python(facts)
        return read


_READERS: dict[str, TypeAdapter[Any]] = {}


def _reader(kind: type[_Event]) -> TypeAdapter[Any]:
    """Return what checks a kind's facts; it is made when it is first needed."""
    if kind.PREFIX not in _READERS:
        _READERS[kind.PREFIX] = TypeAdapter(kind)
    return _READERS[kind.PREFIX]


# Events of a trial -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TrialAsked(_Event):
    """The sampler has given a trial its values."""

    PREFIX: ClassVar[str] = ASKED
    values: Values


@dataclass(frozen=True, kw_only=True)
class EpochEnded(_Event):
    """A trial has trained an epoch, counted from 1."""

    PREFIX: ClassVar[str] = EPOCH
    IN_KEY: ClassVar[tuple[str, ...]] = ("epoch",)
    epoch: int
    metrics: Metrics

    def content(self) -> dict[str, Any]:
        """Return the metrics, which are all that is stored."""
        return dict(self.metrics)

    @classmethod
    def read(cls, key: str, content: Mapping[str, Any]) -> Self:
        """Return the event that an attribute holds."""
        return cls(epoch=int(key.removeprefix(cls.PREFIX)), metrics=dict(content))


@dataclass(frozen=True, kw_only=True)
class RungJudged(_Event):
    """The pruner has decided about a trial at a rung."""

    PREFIX: ClassVar[str] = RUNG
    IN_KEY: ClassVar[tuple[str, ...]] = ("epoch",)
    epoch: int
    action: Action
    better: int | None = None
    """How many of those `among` whom it was judged stand better."""
    among: int | None = None
    written: dict[str, Any] | None = None
    """What a pruner of Optuna's remembers of it."""


@dataclass(frozen=True, kw_only=True)
class TrialPromoted(_Event):
    """A trial that was paused at a rung goes on."""

    PREFIX: ClassVar[str] = PROMOTION
    IN_KEY: ClassVar[tuple[str, ...]] = ("epoch",)
    epoch: int
    better: int
    among: int


@dataclass(frozen=True, kw_only=True)
class TrialEnded(_Event):
    """A trial has an outcome."""

    PREFIX: ClassVar[str] = ENDED
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    values: list[float] | None = None
    """The objectives of a complete trial."""
    final: Metrics | None = None
    """Metrics of the weights that a complete trial has kept."""
    violations: Metrics | None = None
    """How far a complete trial misses each bound; above 0 is missed."""


TrialEvent = TrialAsked | EpochEnded | RungJudged | TrialPromoted | TrialEnded


# Events of the study -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LaunchBegun(_Event):
    """A driver has begun to search; all its events bear the launch's number."""

    PREFIX: ClassVar[str] = "launch:"
    IN_KEY: ClassVar[tuple[str, ...]] = ("launch",)
    launch: int
    begun: float
    """In seconds since 1970."""
    file: dict[str, Any]
    """The study file as it was."""
    environment: Environment | None = None
    """None in launches from before it was kept, and in simulations."""


@dataclass(frozen=True, kw_only=True)
class TeacherTrained(_Event):
    """A teacher is frozen; its epochs stand in its own record, which the digest names."""

    PREFIX: ClassVar[str] = "teacher:"
    role: str
    digest: str = ""
    epoch: int = 0
    """The epoch that was kept."""
    epochs: int | None = None
    """Epochs that were trained."""
    metrics: Metrics = field(default_factory=dict)
    cost: Metrics = field(default_factory=dict)
    """Metrics of its last epoch, whose costs are of all."""


@dataclass(frozen=True, kw_only=True)
class ChampionsChosen(_Event):
    """The best trials are chosen, scored and kept."""

    PREFIX: ClassVar[str] = "champions:"
    by: Chooser
    champions: dict[str, int]
    """Trial by alias."""
    trials: int
    """Trials that had ended by then."""


@dataclass(frozen=True, kw_only=True)
class FinalistsBegun(_Event):
    """Trials have been picked to be trained again on fresh seeds."""

    PREFIX: ClassVar[str] = "finals:"
    begun: float
    """In seconds since 1970."""
    trials: list[int]
    seeds: list[int]
    environment: Environment


@dataclass(frozen=True, kw_only=True)
class FinalistEpochEnded(_Event):
    """A student of a finalist has trained an epoch, counted from 1."""

    PREFIX: ClassVar[str] = "finalist-epoch:"
    IN_KEY: ClassVar[tuple[str, ...]] = ("trial", "replicate", "epoch")
    trial: int
    replicate: int
    epoch: int
    at: float
    """In seconds since 1970."""
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class FinalistTrained(_Event):
    """A student of a finalist has ended: what it came to, or why it failed."""

    PREFIX: ClassVar[str] = "finalist:"
    IN_KEY: ClassVar[tuple[str, ...]] = ("trial", "replicate")
    trial: int
    replicate: int
    """Which of the fresh seeds, counted from 0."""
    seed: int
    epochs: int = 0
    metrics: Metrics = field(default_factory=dict)
    sha256: str | None = None
    """Of its weights."""
    failed: str | None = None


@dataclass(frozen=True, kw_only=True)
class LookTaken(_Event):
    """The test roles are about to be looked at; the ledger holds the whole row."""

    PREFIX: ClassVar[str] = "look:"
    IN_KEY: ClassVar[tuple[str, ...]] = ("look",)
    look: int
    """Counted from 1."""
    champions: dict[str, int] = field(default_factory=dict)
    """Trial by alias."""
    user: str = ""
    host: str = ""
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class AliasMoved(_Event):
    """An alias of the registered model points at another version."""

    PREFIX: ClassVar[str] = "alias:"
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
    """The version that bore the alias until then."""


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
    return [kind.read(key, content) for key, content in _of_kind(attributes, kind)]


def key_for(event: StudyEvent, attributes: Mapping[str, Any]) -> str:
    """Return the attribute that is to hold an event: its own, or the next one of its kind."""
    if event.IN_KEY:
        return event.key
    known = sum(key.startswith(event.PREFIX) for key in attributes)
    return f"{event.PREFIX}{known + 1:04d}"


def teachers_of(attributes: Mapping[str, Any]) -> dict[str, TeacherTrained]:
    """Return what each teacher of a study came to, by role; the last one, if it changed."""
    older: dict[str, Any] = attributes.get("teacher_results", {})  # how schema 2 noted them
    found = {
        role: TeacherTrained.read("", {"role": role, **known}) for role, known in older.items()
    }
    return found | {one.role: one for one in study_events(attributes, TeacherTrained)}


def champions_of(attributes: Mapping[str, Any], by: Chooser) -> ChampionsChosen | None:
    """Return the champions that were chosen last; None before that."""
    chosen = [one for one in study_events(attributes, ChampionsChosen) if one.by == by]
    older = attributes.get("crowned") if by == "search" else None  # how schema 2 noted them
    if not chosen and older:
        return ChampionsChosen.read("", {"by": by, **older})
    return chosen[-1] if chosen else None


def aliases_of(attributes: Mapping[str, Any]) -> dict[str, AliasMoved]:
    """Return the last move of each alias."""
    moves = sorted(study_events(attributes, AliasMoved), key=lambda move: move.moved)
    return {move.alias: move for move in moves}


def finalists_code(attributes: Mapping[str, Any]) -> Environment | None:
    """Return the code and versions that finalists were trained with last; None where unknown."""
    begun = study_events(attributes, FinalistsBegun)
    return begun[-1].environment if begun else None


def looks_of(attributes: Mapping[str, Any]) -> int:
    """Return how many looks at the test roles a study knows of."""
    looks = [one.look for one in study_events(attributes, LookTaken)]
    return max(looks, default=int(attributes.get("looks", 0)))  # how schema 2 counted them


def _of_kind(
    attributes: Mapping[str, Any], kind: type[_Event]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and content of a kind's events, those with a place in the order by it."""
    held = [(key, value) for key, value in attributes.items() if key.startswith(kind.PREFIX)]

    def place(item: tuple[str, Any]) -> tuple[float, str]:
        key, value = item
        return (read_stamp(value).place if STAMP in value else 0.0, key)

    for key, value in sorted(held, key=place):
        yield key, {name: fact for name, fact in value.items() if name != STAMP}
