"""How every kind of event of a study is stored and read.

An event of a trial is a user attribute of the trial, an event of the study one of the study. The
attribute's key holds the kind and the numbers that identify the event, its value all other
fields. The stamp gives its place in the study's one order (`tune.study.event_log`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from pydantic import TypeAdapter

from tune.study.view import STAMP

Metrics = dict[str, float]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class EventBase:
    """Base of all kinds, frozen dataclasses; the key is `PREFIX` and the fields `IN_KEY`."""

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
        """Return the fields that are not None as JSON values; NaN and infinities are strings."""
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
def _reader(kind: type[EventBase]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


Kind = TypeVar("Kind", bound=EventBase)


def study_events(attributes: Mapping[str, Any], kind: type[Kind]) -> list[Kind]:
    """Return the events of a kind among a study's attributes, in their order."""
    keys = [key for key in attributes if key.startswith(kind.PREFIX)]
    keys.sort(key=lambda key: (attributes[key].get(STAMP, [0])[0], key))
    return [kind.read(key, attributes[key]) for key in keys]


def key_for(event: EventBase, keys: Iterable[str]) -> str:
    """Return the attribute to hold an event, given the study's keys: its own or the next free."""
    if event.IN_KEY:
        return event.key
    known = sum(key.startswith(event.PREFIX) for key in keys)
    return f"{event.PREFIX}{known + 1:04d}"
