"""The base of every configuration: frozen, closed to unknown keys, documented field by field."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
