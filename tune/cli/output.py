"""What a command prints: tables for people, or with `--json` one JSON document alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from tune.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a command has found."""

    value: Any
    """What `--json` prints: a model, or something that JSON can hold, of models too."""
    show: Callable[[Console], None]
    """Prints it for people."""
    code: int = 0
    """The command's exit code."""


def printed(command: Callable[..., Output]) -> Callable[..., None]:
    """Return a command that prints its output, as JSON alone where `--json` is given.

    A command that does something else then, or says so in other words, has the option itself.
    """
    signature = inspect.signature(command, eval_str=True)
    asks = "as_json" in signature.parameters

    @functools.wraps(command)
    def run(**given: Any) -> None:
        as_json = given.get("as_json", False) if asks else given.pop("as_json", False)
        output = command(**given)
        if as_json:
            from pydantic_core import to_json

            print(to_json(output.value, indent=2, inf_nan_mode="null").decode())
        else:
            from tune.display.console import make_console

            output.show(make_console())
        if output.code:
            raise typer.Exit(output.code)

    if not asks:
        option = inspect.Parameter(
            "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption
        )
        signature = signature.replace(parameters=[*signature.parameters.values(), option])
    run.__signature__ = signature.replace(return_annotation=None)  # type: ignore[attr-defined]
    return run


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: no markup, no highlighting, no wrapping."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
