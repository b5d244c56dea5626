"""`refkd doctor`: do study, MLflow, files and ledger agree?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tune.cli.options import JsonOption, LookArgument

if TYPE_CHECKING:
    from tune.doctor.examine import Diagnosis


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(doctor)


def doctor(
    study: LookArgument,
    fix: Annotated[
        bool, typer.Option("--fix", help="Put right what has only one right answer.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare study, MLflow, checkpoints, students, teachers, knowledge and ledger.

    Exits with 0 where they agree, with 1 where something is left to do. While a driver searches,
    only what holds still is compared, and nothing is fixed.

    Example: `refkd doctor studies/quickstart.yaml --fix`
    """
    from tune.doctor.examine import examine

    diagnosis = examine(study, fix=fix)
    if as_json:
        print(diagnosis.model_dump_json(indent=2))
    else:
        _show(diagnosis)
    if diagnosis.findings:
        raise typer.Exit(1)


def _show(diagnosis: Diagnosis) -> None:
    from tune.show.study import make_console

    console = make_console()

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    if diagnosis.driver is not None:
        say(f"a driver is at work: {diagnosis.driver}; what it changes was not looked at", "cyan")
    for row in diagnosis.fixed:
        say(f"fixed [{row.check}] {row.what}", "green")
    for row in diagnosis.findings:
        say(f"[{row.check}] {row.what}", "red")
        say(f"    {'--fix will ' if row.fixable else ''}{row.remedy}")
    if not diagnosis.findings:
        say(f"study {diagnosis.study}: everything agrees", "green")
