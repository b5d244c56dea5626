"""`refkd report`: a study as one HTML page for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tune.cli.options import JsonOption, LookArgument


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(report)


def report(
    study: LookArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page to write; else report/report.html in the study's folder.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a study as one HTML page: what was tried, what won, why, and at what cost.

    The page needs no network. It is kept with the study's MLflow run as well. The study is only
    read: a search may be at work on it.

    Example: `refkd report studies/quickstart.yaml --out report.html`
    """
    from tune.report.make import report as make

    made = make(study, out=out)
    if as_json:
        facts = {
            "path": str(made.path.absolute()),
            "verdict": made.headline,
            "sent": made.sent.ok,
            "mlflow": made.sent.words,
        }
        print(json.dumps(facts, indent=2))
    else:
        print(made.headline)
        print(f"wrote {made.path}")
        print(f"MLflow: {made.sent.words}")
