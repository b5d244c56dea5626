"""What a benchmark finds: one row a case."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Clock = Literal["cpu", "wall", "none"]
"""Seconds of the processor, seconds of the world, or no time at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """A bound that a figure should keep.

    >>> Aim(at="<=", bound=2.0).holds(1.5), str(Aim(at=">=", bound=5))
    (True, '>= 5')
    """

    at: Literal["<=", ">="]
    bound: float

    def holds(self, figure: float) -> bool:
        """Return whether a figure keeps the bound."""
        compare = operator.le if self.at == "<=" else operator.ge
        return bool(compare(figure, self.bound))

    def __str__(self) -> str:
        return f"{self.at} {self.bound:g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One case of a benchmark."""

    name: str
    case: str
    ratio: float
    """Baseline over refkd, or another figure in `unit`: the median of the repeats."""
    spread: tuple[float, float]
    """The lowest and the highest of the repeats."""
    repeats: int
    unit: str
    """`x` for a ratio."""
    clock: Clock
    aim: Aim | None = None
    """None for a figure that is told beside one with an aim."""
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the aim is kept; None without one."""
        return None if self.aim is None else self.aim.holds(self.ratio)

    def facts(self) -> dict[str, Any]:
        """Return the row as one line of JSON holds it."""
        told = asdict(self) | {"aim": self.aim and str(self.aim), "holds": self.holds}
        order = ("name", "case", "ratio", "spread", "aim", "holds")
        return {key: told[key] for key in (*order, "unit", "clock", "repeats", "note")}


def row(
    name: str,
    case: str,
    figures: Sequence[float],
    *,
    unit: str = "x",
    clock: Clock = "cpu",
    aim: Aim | None = None,
    note: str = "",
) -> Row:
    """Return the row of a case from one figure a repeat."""
    return Row(
        name=name,
        case=case,
        ratio=float(np.median(figures)),
        spread=(float(min(figures)), float(max(figures))),
        repeats=len(figures),
        unit=unit,
        clock=clock,
        aim=aim,
        note=note,
    )
