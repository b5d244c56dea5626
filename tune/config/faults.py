"""What is wrong with a study file, with the line of each fault."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pydantic import ValidationError

from refkd.masking import masked
from refkd.models import NETWORKS
from tune.config.keys import MisplacedError, nearest
from tune.config.teachers import SPEC_KINDS, TEACHER_ROLES
from tune.config.yaml_file import YamlFile

KINDS = {("float",), ("int",), ("str",), ("bool",)}
"""How pydantic names the kinds of a value that may be of several, behind its keys."""
_WRONG_KIND = {"float_type", "int_type", "string_type", "bool_type", "finite_number"}


def faults_of(file: YamlFile, error: ValidationError, known: Iterable[str]) -> list[str]:
    """Return the faults of a file whose keys are `known`, each with its line."""
    faults: dict[str, None] = {}
    for fault in error.errors():
        cause = fault.get("ctx", {}).get("error")
        location = keys_of(fault["loc"])
        message = _message(fault["msg"], location, known, fault["input"])
        if location[-1:] in KINDS and len(location) > 2 and fault["type"] in _WRONG_KIND:
            location, message = location[:-1], "give a number, a text, true or false"
        location += cause.keys if isinstance(cause, MisplacedError) else ()
        faults[at(file, location, message)] = None
    return list(faults)


def at(file: YamlFile, location: Sequence[str | int], message: str) -> str:
    """Return a fault at some keys of a file, with its line."""
    names = [str(part) for part in location]
    for end in range(len(names), 0, -1):  # a fault of the whole study begins with its place
        message = message.removeprefix(f"{'.'.join(names[:end])}: ")
    where = ".".join(names) or "the study"
    return f"{file.path}:{file.line(location) or 1}: {where}: {message}"


def keys_of(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return the keys of a fault's place; of what is of several kinds pydantic names the kind."""
    kinds: dict[str, Collection[str]] = {
        "backbone": NETWORKS,
        "prior": ("values", "earlier"),
        "from": ("url", "path"),
        **dict.fromkeys(TEACHER_ROLES, SPEC_KINDS),
    }
    return tuple(
        part
        for before, part in zip((None, *location), location, strict=False)
        if part not in kinds.get(str(before), ())
    )


def wanted(message: str, given: object) -> str:
    """Return pydantic's "Input should be ..." as a remedy, beside what was given.

    >>> wanted("Input should be a valid integer", True)
    'give a whole number, not true'
    """
    if not message.startswith("Input should be ") or not isinstance(given, str | int | float):
        return message
    shown = str(given).lower() if isinstance(given, bool) else repr(given)
    shown = masked(shown)[:40]  # what is cut off may be what shows a URL as one
    message = message.removeprefix("Input should be ")
    for word, plain in _PLAIN.items():
        message = message.replace(word, plain)
    return f"give {message}, not {shown}"


_PLAIN = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "a text",
    "greater than": "a value greater than",
    "less than": "a value less than",
}


def _message(
    message: str, location: Sequence[str | int], known: Iterable[str], given: object
) -> str:
    message = wanted(message.removeprefix("Value error, "), given)
    if message.startswith("Input tag"):
        return f"no backbone has that name; the known ones are {', '.join(NETWORKS)}"
    if message.startswith("Extra inputs"):
        return "no such key" + nearest(str(location[-1]), known)
    if message == "Field required":
        return "is missing; give it a value"
    return message
