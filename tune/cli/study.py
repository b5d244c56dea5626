"""`refkd status` and `refkd best`: look at a study, running or ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tune.cli.options import JsonOption, LookArgument


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(status)
    app.command()(best)


def status(study: LookArgument, as_json: JsonOption = False) -> None:
    """Show every trial of a study: its state, epoch, scores and values.

    Example: `refkd status studies/quickstart.yaml`
    """
    from tune.show.study import make_console, show_status
    from tune.study.snapshot import open_snapshot

    summary = open_snapshot(study).summary
    if as_json:
        print(summary.model_dump_json(indent=2))
    else:
        show_status(make_console(), summary)


def best(
    study: LookArgument,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the front to this PNG, SVG or PDF too.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the Pareto front and the champions of a study.

    Example: `refkd best studies/quickstart.yaml --json`
    """
    from tune.show.study import make_console, show_best
    from tune.study.snapshot import open_snapshot

    summary = open_snapshot(study).summary
    if plot is not None:
        from tune.show.plot import plot_front

        plot_front(summary, plot)
    if as_json:
        numbers = sorted({*summary.front, *summary.champions.values()})
        chosen = {
            "front": summary.front,
            "champions": summary.champions,
            "trials": [summary.trial(n).model_dump(mode="json") for n in numbers],
            "intervals": summary.intervals,
        }
        print(json.dumps(chosen, indent=2))
    else:
        show_best(make_console(), summary)
