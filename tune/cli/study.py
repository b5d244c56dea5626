"""`refkd status` and `refkd best`: look at a study, running or ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tune.cli.options import LookArgument
from tune.cli.output import Output, printed


@printed
def status(study: LookArgument) -> Output:
    """Show every trial of a study: its state, epoch, scores and values.

    Example: `refkd status studies/quickstart.yaml`
    """
    from tune.display.study import show_status
    from tune.study.snapshot import open_snapshot

    summary = open_snapshot(study).summary
    return Output(value=summary, show=lambda console: show_status(console, summary))


@printed
def best(
    study: LookArgument,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the front to this PNG, SVG or PDF too.", show_default=False),
    ] = None,
) -> Output:
    """Show the Pareto front and the champions of a study.

    Example: `refkd best studies/quickstart.yaml --json`
    """
    from tune.display.study import show_best
    from tune.study.snapshot import open_snapshot

    summary = open_snapshot(study).summary
    if plot is not None:
        from tune.display.plot import plot_front

        plot_front(summary, plot)
    numbers = sorted({*summary.front, *summary.champions.values()})
    chosen = {
        "front": summary.front,
        "champions": summary.champions,
        "trials": [summary.trial(number) for number in numbers],
        "intervals": summary.intervals,
    }
    return Output(value=chosen, show=lambda console: show_best(console, summary))
