"""What a section of the report consists of, and how it words what it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tune.display.console import plural


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers for people, as text."""

    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture."""

    name: str
    """Of the file it is kept in: letters, digits, - and _."""
    label: str
    """What it shows, for readers who cannot see it."""
    plot: Any
    """A `plotly.graph_objects.Figure`."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report: pictures and their numbers, or a sentence why there are none."""

    key: str
    title: str
    text: str
    """What it shows, in words."""
    panels: list[Panel] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def short_name(key: str) -> str:
    """Return a key of the space without its section.

    >>> short_name("distill.lambda_id")
    'lambda_id'
    """
    return key.rpartition(".")[2]


def shown(value: object) -> str:
    """Return a value as text: numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def capitalised(sentence: str) -> str:
    """Return a sentence with its first letter as a capital."""
    return sentence[:1].upper() + sentence[1:]


def too_few(count: int, needed: int) -> str:
    """Say that a figure needs more complete trials than there are."""
    held = "no complete trial" if count == 0 else f"only {plural(count, 'complete trial')}"
    return f"The study has {held}; this needs {needed}."


def when(seconds: float) -> str:
    """Return a time in UTC.

    >>> when(0.0)
    '1970-01-01 00:00 UTC'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
