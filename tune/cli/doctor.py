"""`refkd doctor`: do study, MLflow, files and ledger agree?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tune.cli.options import LookArgument
from tune.cli.output import Output, printed, say

if TYPE_CHECKING:
    from rich.console import Console

    from tune.audit.examine import Diagnosis


@printed
def doctor(
    study: LookArgument,
    fix: Annotated[
        bool, typer.Option("--fix", help="Put right what has only one right answer.")
    ] = False,
) -> Output:
    """Compare study, MLflow, checkpoints, students, teachers, knowledge and ledger.

    Exits with 0 where they agree, with 1 where something is left to do. While a driver searches,
    only what holds still is compared, and nothing is fixed.

    Example: `refkd doctor studies/quickstart.yaml --fix`
    """
    from tune.audit.examine import examine

    diagnosis = examine(study, fix=fix)
    return Output(
        value=diagnosis,
        show=lambda console: _show(console, diagnosis),
        code=1 if diagnosis.findings else 0,
    )


def _show(console: Console, diagnosis: Diagnosis) -> None:
    if diagnosis.driver is not None:
        say(
            console,
            f"a driver is at work: {diagnosis.driver}; what it changes was not looked at",
            "cyan",
        )
    for row in diagnosis.fixed:
        say(console, f"fixed [{row.check}] {row.what}", "green")
    for row in diagnosis.findings:
        say(console, f"[{row.check}] {row.what}", "red")
        say(console, f"    {'--fix will ' if row.fixable else ''}{row.remedy}")
    if not diagnosis.findings:
        say(console, f"study {diagnosis.study}: everything agrees", "green")
