"""The search space of a study file: which keys vary, within what, and when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from refkd.config import Settings
from tune.config.keys import nearest

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

Value = float | int | str | bool | None
Values = dict[str, Value]


TRIED = 64
"""Whole numbers of a range, at most twice as many, that are combined with other values."""


class Dimension(Settings):
    """The range of one key: exactly one of `float`, `int` and `choice`.

    >>> Dimension(float=(0.01, 1.0), log=True).examples()
    [0.01, 1.0]
    """

    float_range: tuple[float, float] | None = Field(default=None, alias="float")
    """Lowest and highest real number, both included."""
    int_range: tuple[int, int] | None = Field(default=None, alias="int")
    """Lowest and highest whole number, both included."""
    choice: list[Value] | None = Field(default=None, min_length=1)
    """The values to choose from."""
    log: bool = False
    """Whether the range is searched by its logarithm; its lowest value must be above 0."""
    step: int | float | None = Field(default=None, gt=0)
    """Distance between the values of a range without log; 1 for whole numbers, else any."""
    when: dict[str, Value | list[Value]] = Field(default_factory=dict)
    """Conditions, key to value or values: where one fails, the key keeps its fixed value."""

    @model_validator(mode="before")
    @classmethod
    def _step_of_its_kind(cls, given: Any) -> Any:
        """Let a step of real numbers be real; earlier launches stored 1 with every range."""
        step = given.get("step") if isinstance(given, dict) else None
        if isinstance(step, bool) or not isinstance(step, int) or given.get("int") is not None:
            return given
        if "int" in given:  # as a launch stores a range: with all keys
            return {key: value for key, value in given.items() if key != "step"}
        return {**given, "step": float(step)} if "float" in given else given

    @model_validator(mode="after")
    def _consistent(self) -> Dimension:
        given = [kind for kind in (self.float_range, self.int_range, self.choice) if kind]
        if len(given) != 1:
            raise ValueError("give exactly one of float: [low, high], int: [low, high], choice")
        bounds = self.float_range or self.int_range
        if bounds and bounds[0] > bounds[1]:
            raise ValueError(f"the range {list(bounds)} is empty: the first bound is the larger")
        if self.log and (not bounds or bounds[0] <= 0):
            raise ValueError("log: true needs a range of numbers above 0")
        if any(wanted == [] for wanted in self.when.values()):
            raise ValueError("when: an empty list never holds; give the values, or remove the key")
        if self.step is not None and (not bounds or self.log):
            raise ValueError("step goes with ranges of numbers without log alone")
        if self.int_range and not isinstance(self.step, int | None):
            raise ValueError(f"step={self.step:g}: whole numbers have a whole distance")
        if self.float_range and self.misfit(self.float_range[1]) is not None:
            raise ValueError(
                f"{list(self.float_range)} is no whole number of steps of {self.step}"
            )
        return self

    @property
    def whole_step(self) -> int:
        """The distance between whole numbers."""
        return int(self.step or 1)

    @property
    def label(self) -> str:
        """The kind of range in words."""
        kind = "float" if self.float_range else "int" if self.int_range else "choice"
        return f"logarithmic {kind}" if self.log else kind

    def examples(self) -> list[Value]:
        """Return values that must be valid for the whole range to be: its ends or all choices."""
        if self.int_range is None:
            return list(self.choice or self.float_range or ())
        return list(self.ends)

    def tried(self) -> list[Value]:
        """Return the values that are combined with others: examples, and whole numbers between."""
        if self.int_range is None:
            return self.examples()
        every = range(self.int_range[0], self.int_range[1] + 1, self.whole_step)
        return [*every[:: max(1, len(every) // TRIED)], every[-1]]

    def contains(self, value: object) -> bool:
        """Return whether a value lies in the range."""
        return self.misfit(value) is None

    def misfit(self, value: object) -> str | None:
        """Return why a value does not lie in the range; None where it does.

        A whole number is a real one, but 8.0 is none of a range of whole numbers.

        >>> Dimension(int=(4, 16), step=4).misfit(6)
        'is none of 4, 8, …, 16'
        """
        if self.choice is not None:
            same = (
                value == c and isinstance(value, bool) == isinstance(c, bool) for c in self.choice
            )
            return None if any(same) else f"is none of {self.choice}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "is no number"
        if self.int_range and not isinstance(value, int):
            return "is no whole number"
        low, high = self.float_range or self.int_range or (0, 0)
        if not low <= value <= high:
            return f"is outside [{low}, {high}]"
        step = self.whole_step if self.int_range else self.step
        if step is None:
            return None
        last = low + math.floor((high - low) / step + 1e-8) * step
        if abs(low + round((value - low) / step) * step - value) > 1e-8 * step:
            return f"is none of {low:g}, {low + step:g}, …, {last:g}"
        return None

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value of a range of numbers."""
        if self.float_range is not None:
            return self.float_range
        low, high = self.int_range or (0, 0)
        return low, high - (high - low) % self.whole_step

    def place(self, value: Value) -> float:
        """Return where in a range of numbers one of it lies: 0 its lowest end, 1 its highest.

        >>> Dimension(float=(0.01, 1.0), log=True).place(0.1)
        0.5
        """
        (low, high), at = self.ends, float(value or 0.0)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low) if high > low else 0.0

    @property
    def count(self) -> int | None:
        """How many values there are; None where they are real numbers without a step."""
        if self.choice is not None:
            return len(self.choice)
        low, high = self.ends
        if low == high:
            return 1
        step = self.whole_step if self.int_range else self.step
        return None if step is None else math.floor((high - low) / step + 1e-8) + 1

    def parts(self, most: int) -> int:
        """Return in how many parts the values fall: choices are one each, of numbers `most`."""
        count = most if self.count is None else self.count
        return count if self.choice is not None else min(most, count)

    def part(self, value: Value, most: int) -> int | None:
        """Return the part that a value falls into; None where the range does not hold it.

        >>> [Dimension(int=(1, 4)).part(value, 3) for value in (1, 2, 3, 4)]
        [0, 0, 1, 2]
        """
        if not self.contains(value):
            return None
        parts = self.parts(most)
        if self.choice is not None:
            kind = isinstance(value, bool)
            return next(
                place
                for place, one in enumerate(self.choice)
                if one == value and isinstance(one, bool) == kind
            )
        where = self.place(value)
        if self.count is not None and not self.log:
            where *= (self.count - 1) / self.count  # each value is as wide as the others
        return min(parts - 1, math.floor(where * parts + 1e-9))

    def every(self) -> Iterator[Value]:
        """Yield all values in a range that is not continuous, however many there are."""
        low, high = self.ends
        if self.choice is not None:
            yield from self.choice
        elif self.int_range is not None:
            yield from range(self.int_range[0], self.int_range[1] + 1, self.whole_step)
        else:
            for place in range(self.count or 0):
                yield min(low + place * (self.step or 0), high)

    def conditions(self) -> Values:
        """Return values under which the key is used."""
        return {k: v[0] if isinstance(v, list) else v for k, v in self.when.items()}

    def active(self, values: Mapping[str, Value]) -> bool:
        """Return whether every condition holds for the values drawn so far."""
        return all(
            values.get(key) in (wanted if isinstance(wanted, list) else [wanted])
            for key, wanted in self.when.items()
        )

    def distribution(self) -> BaseDistribution:
        """Return the range as Optuna describes it."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.float_range:
            return FloatDistribution(*self.float_range, log=self.log, step=self.step)
        if self.int_range:
            return IntDistribution(*self.int_range, log=self.log, step=self.whole_step)
        return CategoricalDistribution(self.choice or [])

    def suggest(self, name: str, trial: Trial) -> Value:
        """Draw a value from an Optuna trial."""
        if self.float_range:
            return trial.suggest_float(name, *self.float_range, log=self.log, step=self.step)
        if self.int_range:
            return trial.suggest_int(name, *self.int_range, step=self.whole_step, log=self.log)
        return trial.suggest_categorical(name, self.choice or [])


def suggest(space: Mapping[str, Dimension], trial: Trial, fixed: Mapping[str, Value]) -> Values:
    """Draw every active key, in the order of the file; conditions may name fixed keys too."""
    drawn: Values = {}
    for name, dimension in space.items():
        if dimension.active({**fixed, **drawn}):
            drawn[name] = dimension.suggest(name, trial)
    return drawn


def every_point(
    space: Mapping[str, Dimension], fixed: Mapping[str, Value]
) -> Iterator[Values] | None:
    """Return each point of a space in turn; None where they cannot be counted.

    >>> space = {"a": Dimension(choice=["x", "y"]), "b": Dimension(int=(1, 2), when={"a": "y"})}
    >>> list(every_point(space, {}) or ())
    [{'a': 'x'}, {'a': 'y', 'b': 1}, {'a': 'y', 'b': 2}]
    """
    if any(dimension.count is None for dimension in space.values()):
        return None

    def of(left: Sequence[str], drawn: Values) -> Iterator[Values]:
        if not left:
            yield drawn
            return
        name, *more = left
        if not space[name].active({**fixed, **drawn}):
            yield from of(more, drawn)
            return
        for value in space[name].every():
            yield from of(more, {**drawn, name: value})

    return of(list(space), {})


def misfit(space: Mapping[str, Dimension], point: Mapping[str, object]) -> str | None:
    """Return what is wrong with a point of some keys of a space; None where it fits."""
    for name, value in point.items():
        if name not in space:
            return f"{name!r}, which is not in the space{nearest(name, space)}"
        wrong = space[name].misfit(value)
        if wrong is not None:
            return f"{name}={str(value)[:80]}, which {wrong}"
    return None


def lowest(
    space: Mapping[str, Dimension], given: Mapping[str, Value], fixed: Mapping[str, Value]
) -> Values:
    """Return the first of every active range, but for the keys that are given."""
    drawn: Values = {}
    for name, dimension in space.items():
        if name in given:
            drawn[name] = given[name]
        elif dimension.active({**fixed, **given, **drawn}):
            drawn[name] = dimension.examples()[0]
    return {**drawn, **given}


def flat(settings: Mapping[str, Any], prefix: str = "") -> Values:
    """Return nested settings with dotted keys: what a run's parameters are called."""
    result: Values = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        result |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return result
