"""What is wrong with a study file, with the line of each fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from refkd.models import NETWORKS
from tune.config.keys import nearest
from tune.config.yaml_file import YamlFile


def faults_of(file: YamlFile, error: ValidationError, known: Iterable[str]) -> list[str]:
    """Return the faults of a file whose keys are `known`, each with its line."""
    faults = []
    for fault in error.errors():
        location = keys_of(fault["loc"])
        line = file.line(location) or 1
        where = ".".join(str(part) for part in location) or "the study"
        faults.append(f"{file.path}:{line}: {where}: {_message(fault['msg'], location, known)}")
    return faults


def keys_of(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return the keys of a fault's place; behind `backbone` pydantic names its kind as well."""
    return tuple(
        part
        for before, part in zip((None, *location), location, strict=False)
        if before != "backbone" or part not in NETWORKS
    )


def _message(message: str, location: Sequence[str | int], known: Iterable[str]) -> str:
    message = message.removeprefix("Value error, ")
    if message.startswith("Input tag"):
        return f"no backbone has that name; the known ones are {', '.join(NETWORKS)}"
    if message.startswith("Extra inputs"):
        return "no such key" + nearest(str(location[-1]), known)
    if message == "Field required":
        return "is missing; give it a value"
    return message
