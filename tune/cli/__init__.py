"""The `refkd` command: one file a command group, heavy imports inside the commands.

This file imports nothing but the standard library before signals are heard.
"""

from __future__ import annotations

import sys
from typing import Any

_PROGRAM = "__main__"


def main() -> None:
    """Run the command and exit with its `ExitCode`; what a user can mend is one line."""
    from tune.ending import stopping

    stopping.hear_signals()
    code: str | int | None = None
    try:
        _run()
    except SystemExit as end:
        code = end.code
    from inspect import currentframe

    here = currentframe()
    caller = here.f_back if here is not None else None
    if caller is None or caller.f_globals.get("__name__") != _PROGRAM:  # the process goes on
        stopping.ignore_signals()
    elif stopping.is_stopping():
        stopping.end_stopped(code)
    sys.exit(code)


def _run() -> None:
    from contextlib import suppress

    from refkd.errors import RefKDError
    from tune.cli.hiding import hide_arguments, hide_in_messages, print_fault
    from tune.ending.exits import ExitCode, UnfinishedError
    from tune.study.user import name_the_user

    hide_arguments()
    hide_in_messages()
    name_the_user()
    try:
        from tune.cli.encoding import readable_paths
        from tune.cli.program import app

        with readable_paths():
            app()
    except Exception as error:
        from rich.console import Console

        from tune.execution.machine import outside

        told = error if isinstance(error, RefKDError) else outside(error)
        if told is None:
            print_fault(error)
            sys.exit(ExitCode.FAULT)
        console = Console(stderr=True, soft_wrap=True)
        with suppress(OSError):  # the terminal may have hung up
            console.print(f"refkd: {told}", style="red", markup=False, highlight=False)
        sys.exit(told.code if isinstance(told, UnfinishedError) else ExitCode.MISTAKE)


def __getattr__(name: str) -> Any:
    """Import the commands when a program asks for them."""
    if name != "app":
        raise AttributeError(f"module 'tune.cli' has no attribute {name!r}")
    from tune.cli.program import app

    return app
