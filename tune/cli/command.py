"""What commands share: arguments and options, tables or JSON, progress, and Ctrl-C."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from refkd.errors import DataError
from tune.ending.exits import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from tune.execution.progress import Reporter
    from tune.study.summary import Summary

StudyArgument = Annotated[Path, Argument(help="The study file.")]
SnapshotArgument = Annotated[
    str,
    Argument(
        metavar="STUDY",
        help="The study file, the study's folder, or its storage's URL (URL#NAME of several).",
    ),
]
"""A study that is only read."""
JsonOption = Annotated[bool, Option("--json", help="Print JSON alone.")]
AddressOption = Annotated[str | None, Option(help="Join a Ray cluster: `auto` or HOST:PORT.")]
NoVerifyOption = Annotated[
    bool, Option("--no-verify", help="Trust a dataset that was verified here before.")
]
"""Of commands that train: they compare every byte of the dataset with its hash first."""
PlanOption = Annotated[bool, Option("--plan", help="Estimate what it would cost; run nothing.")]


@dataclass(frozen=True)
class Output:
    """What a command has found."""

    value: Any
    """What `--json` prints: a model, or something that JSON can hold, of models too."""
    show: str | Callable[[Console, Any], None]
    """A text for people, or what prints the value for them."""
    code: ExitCode = ExitCode.DONE


def by_source(
    values: Sequence[str], option: str, names: Collection[str] | None = None
) -> dict[str, str]:
    """Return the values of an option that is given once a source of features: `[NAME=]VALUE`.

    A value without a name, or with none of `names`, stands under "". `DataError` where a name is
    given twice.

    >>> by_source(["clip=features/clip", "slowfast=features/slow"], "--features")
    {'clip': 'features/clip', 'slowfast': 'features/slow'}
    """
    found: dict[str, str] = {}
    for text in values:
        name, given, value = text.partition("=")
        wrong = not re.fullmatch(r"[A-Za-z0-9_.-]+", name) if names is None else name not in names
        if wrong or not given:
            name, value = "", text
        if name in found:
            which = f"{name} is given twice" if name else f"{text!r} has no name and is not alone"
            raise DataError(f"{option}: {which}; give {option} NAME=VALUE for each source")
        found[name] = value
    return found


def outcome(summary: Summary) -> ExitCode:
    """Return how the search of a study has ended that has no trials left."""
    return ExitCode.DONE if summary.front else ExitCode.NONE_COMPLETE


def printed(command: Callable[..., Output]) -> Callable[..., None]:
    """Return a command that prints its output, as JSON alone where `--json` is given.

    A command that behaves differently with `--json` declares the option itself.
    """
    signature = inspect.signature(command, eval_str=True)
    declared = "as_json" in signature.parameters

    @functools.wraps(command)
    def run(**given: Any) -> None:
        as_json = given.get("as_json", False) if declared else given.pop("as_json", False)
        output = command(**given)
        if as_json:
            from pydantic_core import to_json

            print(to_json(output.value, indent=2, inf_nan_mode="null").decode())
        else:
            from tune.display.console import make_console, say

            console = make_console()
            if isinstance(output.show, str):
                say(console, output.show)
            else:
                output.show(console, output.value)
        if output.code:
            raise typer.Exit(output.code)

    if not declared:
        option = inspect.Parameter(
            "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption
        )
        signature = signature.replace(parameters=[*signature.parameters.values(), option])
    run.__signature__ = signature.replace(return_annotation=None)  # type: ignore[attr-defined]
    return run


def progress(as_json: bool, *, live: bool = False) -> Reporter:
    """Return what reports progress: nothing beside JSON, else lines, or a `live` table."""
    from tune.display.console import make_console
    from tune.execution.progress import Lines, LiveTable, Reporter

    console = make_console()
    lines = LiveTable if live and console.is_terminal else Lines
    return Reporter() if as_json else lines(console)
