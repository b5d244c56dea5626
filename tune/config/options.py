"""Options that a study file passes on to a class, checked against what it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from tune.config.keys import nearest


def option_fault(
    options: Mapping[str, Any], taken: Callable[..., Any], name: str, given: Sequence[str] = ()
) -> tuple[str, str] | None:
    """Return the first wrong option of a class of a `name`, and why; None where all are right.

    `taken` is the class's `__init__`, `given` what refkd itself gives.
    """
    from tune.config.faults import wanted  # brings torch along, which a search does not need here

    parameters = inspect.signature(taken).parameters.values()
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters)
    plain = [
        one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    known = {one.name: one for one in plain if one.name not in ("self", *given)}
    hints = _hints(taken)
    for option, value in options.items():
        if option in given or (option not in known and not anything):
            why = f"{name} has no such option{nearest(option, known)}"
            return option, f"{why}; it takes {', '.join(known)}"
        strict = ConfigDict(strict=True, allow_inf_nan=False)
        try:
            TypeAdapter(hints.get(option, Any), config=strict).validate_python(value)
        except ValidationError as error:
            return option, wanted(error.errors()[0]["msg"], value)
        except PydanticSchemaGenerationError:  # no type that a file could hold
            return option, f"{name} takes no value of a study file for it"
    for option, one in known.items():
        if one.default is one.empty and option not in options:
            return option, f"{name} needs it"
    return None


def _hints(taken: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's arguments; none where only a type checker knows them."""
    try:
        return get_type_hints(taken)
    except NameError:
        return {}
