"""What several commands share: arguments, options, and how an interruption is told."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

StudyArgument = Annotated[Path, typer.Argument(help="The study file.", show_default=False)]
LookArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="The study file, the study's folder, or its storage's URL (URL#NAME of several).",
        show_default=False,
    ),
]
"""A study that is only read."""
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Join a running Ray cluster (`auto`, or HOST:PORT).", show_default=False),
]


@contextmanager
def interruptible() -> Iterator[None]:
    """End with a line that says how to go on, and the exit code of Ctrl-C."""
    from tune.execution.jobs import InterruptedSearchError

    try:
        yield
    except (InterruptedSearchError, KeyboardInterrupt) as interrupted:
        told = str(interrupted) or "stopped at once; run the same command again to continue"
        print(f"refkd: {told}", file=sys.stderr)
        raise typer.Exit(128 + signal.SIGINT) from None
