"""Values of a teacher's configuration that `refkd teach --tune` tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations_with_replacement
from typing import Any

from pydantic import ValidationError

from refkd.training.teacher import TeacherConfig
from tune.config.faults import wanted
from tune.config.keys import MisplacedError, check_keys, put
from tune.config.space import Dimension, Value, Values, flat, lowest

ORACLE, PRESET = "recipe.oracle", "recipe.preset"


def tuned(config: TeacherConfig, values: Mapping[str, Value]) -> TeacherConfig:
    """Return a teacher with some values, by dotted key, in the place of its own."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    if PRESET in values:
        settings["recipe"] = config.recipe.changes()
    for path, value in values.items():
        put(settings, path, value)
    return TeacherConfig.model_validate(settings)


def check_tuning(where: str, config: TeacherConfig, space: Mapping[str, Dimension]) -> None:
    """Build the teachers at the ends of every two ranges; `ValueError` names what fails."""
    if config.recipe.oracle or ORACLE in space:
        raise MisplacedError(
            where.split("."),
            f"{where}: an oracle learns of the pairs that it is judged by, so there is nothing to "
            f"tune; remove `tune`, or `oracle` from the recipe and {ORACLE} from the space",
        )
    known = flat(config.model_dump(mode="json"))
    check_keys(where, space, known, "a teacher")
    for values in _corners(space, known):
        try:
            tuned(config, values)
        except ValidationError as error:
            raise MisplacedError(
                where.split("."),
                f"{where}: {values} is not valid: {first_message(error)}; or let a key depend on "
                "another by `when: {KEY: VALUES}`, without which it keeps its fixed value",
            ) from None


def _corners(space: Mapping[str, Dimension], fixed: Values) -> Iterator[Values]:
    """Yield points with every two ranges at each of their ends, where both are in use.

    A range of whole numbers is tried alone at those between its ends, too.
    """
    for name, dimension in space.items():
        for value in dimension.tried()[1:-1] if dimension.int_range else ():
            yield lowest(space, {**dimension.conditions(), name: value}, fixed)
    ends = [(name, value) for name, dimension in space.items() for value in dimension.examples()]
    for pair in combinations_with_replacement(ends, 2):
        given = dict(pair)
        held = {k: v for name in given for k, v in space[name].conditions().items()}
        point = lowest(space, {**held, **given}, fixed)
        if all(space[name].active({**fixed, **point}) for name in given):
            yield {name: value for name, value in point.items() if name in space}


def first_message(error: ValidationError) -> str:
    first = error.errors()[0]
    return wanted(first["msg"].removeprefix("Value error, "), first["input"])
