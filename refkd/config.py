"""The base of every configuration: frozen, closed to unknown keys, documented field by field."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class Config(BaseModel):
    """A frozen set of settings; the string under a field is its description in the schema.

    An unknown key is an error, so a misspelt hyperparameter never runs with its default.

    >>> class Window(Config):
    ...     tau: float = 0.05
    >>> Window(tau=0.1).tau
    0.1
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
    )


def _make_strict(part: Any) -> None:
    """Let every number and switch of a schema take its own kind alone."""
    if isinstance(part, dict):
        if part.get("type") in ("int", "float", "bool"):
            part["strict"] = True
        part = list(part.values())
    if isinstance(part, list | tuple):
        for inner in part:
            _make_strict(inner)


class Settings(Config):
    """Settings that people write: `yes` is no number, `"6"` and `6.0` are no whole number.

    >>> class Window(Settings):
    ...     clips: int = 5
    >>> Window(clips=True)
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Window
    ...
    """

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        _make_strict(schema)
        return schema
