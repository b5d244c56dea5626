"""`refkd report`: a study as one HTML page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tune.cli.options import LookArgument
from tune.cli.output import Output, printed, say


@printed
def report(
    study: LookArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page to write; else report/report.html in the study's folder.",
            show_default=False,
        ),
    ] = None,
) -> Output:
    """Write a study as one HTML page: what was tried, what won, why, and at what cost.

    The page needs no network. It is kept with the study's MLflow run as well. The study is only
    read: a search may be at work on it.

    Example: `refkd report studies/quickstart.yaml --out report.html`
    """
    from tune.report.make import report as make

    made = make(study, out=out)
    facts = {
        "path": str(made.path.absolute()),
        "verdict": made.headline,
        "sent": made.sent,
        "mlflow": made.mlflow,
    }
    text = f"{made.headline}\nwrote {made.path}\nMLflow: {made.mlflow}"
    return Output(value=facts, show=lambda console: say(console, text))
