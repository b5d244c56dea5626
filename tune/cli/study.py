"""`refkd status`, `best`, `bill`, `compare`, `report`, `watch`, `ui`: look at studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from refkd.errors import RefKDError
from tune.cli.command import Output, SnapshotArgument, outcome, printed
from tune.ending.exits import ExitCode

if TYPE_CHECKING:
    from rich.console import Console


@printed
def status(study: SnapshotArgument) -> Output:
    """Show every trial of a study: its state, epoch and scores; and what is wrong with the search.

    Example: `refkd status studies/quickstart.yaml`
    """
    from tune.display.study import show_status
    from tune.study.snapshot import open_snapshot

    return Output(open_snapshot(study).summary, show_status)


@printed
def best(
    study: SnapshotArgument,
    plot: Annotated[Path | None, Option(help="Draw the front to a PNG, SVG or PDF too.")] = None,
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
        "standings": {alias: one.model_dump() for alias, one in summary.standings.items()},
    }
    return Output(chosen, lambda console, _: show_best(console, summary))


@printed
def bill(study: SnapshotArgument) -> Output:
    """Show what a study has cost: by outcome, by teacher, by epoch and by point of hypervolume.

    Prices come from `prices` in the study file.

    Example: `refkd bill studies/quickstart.yaml`
    """
    from tune.display.cost import show_bill
    from tune.results.bill import make_bill
    from tune.study.snapshot import open_snapshot

    return Output(make_bill(open_snapshot(study)), show_bill)


@printed
def compare(
    studies: Annotated[list[str], Argument(help="Two or more study files, folders or URLs.")],
    reference: Annotated[
        list[float] | None,
        Option(help="Where hypervolume begins, once for each objective; else 0."),
    ] = None,
) -> Output:
    """Show studies side by side; the first one is the base of the differences.

    Champions are compared pair by pair on `val_id` and `val_ood`, where the studies share their
    dataset and the students are on this machine.

    Example: `refkd compare studies/quickstart.yaml studies/charades-cd-clip.yaml`
    """
    from tune.display.comparison import show_studies
    from tune.results.side_by_side import side_by_side

    return Output(side_by_side(studies, reference), show_studies)


@printed
def report(
    study: SnapshotArgument,
    out: Annotated[
        Path | None,
        Option(help="The page to write; else report/report.html in the study's folder."),
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
    return Output(facts, f"{made.headline}\nwrote {made.path}\nMLflow: {made.mlflow}")


@printed
def watch(
    study: SnapshotArgument,
    once: Annotated[bool, Option("--once", help="Show it once and end.")] = False,
    every: Annotated[float, Option(help="Seconds between two updates.", min=0.1)] = 2.0,
    as_json: Annotated[bool, Option("--json", help="With --once: print JSON alone.")] = False,
) -> Output:
    """Watch a search that runs elsewhere, until it has ended; Ctrl-C ends the watching alone.

    Only the study's storage is read. Exits with 3 where the search stopped with trials left, with
    4 where it has ended and no trial is complete within the constraints.

    Example: `refkd watch studies/quickstart.yaml`
    """
    if as_json and not once:
        raise RefKDError("--json shows one moment; say --once too")
    from tune.display.console import make_console
    from tune.display.status import search_status
    from tune.display.watch import draw
    from tune.display.watch import watch as run
    from tune.study.snapshot import StudyReader

    reader = StudyReader(study)
    if once:
        return Output(search_status(reader.read()), lambda console, now: console.print(draw(now)))
    last = run(make_console(), reader, every=every)
    code = ExitCode.LEFT if last.phase == "stopped" else outcome(last.summary)
    return Output(last, lambda *_: None, code)


@printed
def ui(
    study: SnapshotArgument,
    only_print: Annotated[
        bool, Option("--print", help="Print addresses and commands, start nothing.")
    ] = False,
    mlflow_port: Annotated[int, Option(help="Port of MLflow.", min=1, max=65535)] = 5000,
    dashboard_port: Annotated[int, Option(help="Port of the dashboard.", min=1, max=65535)] = 8080,
    writable: Annotated[
        bool, Option("--writable", help="Let optuna-dashboard rename, note and delete.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="With --print: print JSON alone.")] = False,
) -> Output:
    """Open a study in MLflow and in optuna-dashboard, on this machine alone; Ctrl-C ends both.

    Where the study's record is on a tracking server, that server is named and none is started.
    The dashboard changes nothing without --writable; both refuse requests of other pages.

    Example: `refkd ui studies/quickstart.yaml`
    """
    if as_json and not only_print:
        raise RefKDError("--json prints what would be started; say --print too")
    from tune.display.console import say
    from tune.display.servers import serve
    from tune.display.ui import check_port, pages

    found = pages(study, mlflow_port=mlflow_port, dashboard_port=dashboard_port, writable=writable)
    facts = [
        {"name": p.name, "address": p.address, "links": p.links, "command": p.shown or None}
        for p in found
    ]

    def show(console: Console, _: object) -> None:
        for page in found:
            say(console, f"{page.name}: {page.address}{f' ({page.hint})' if page.hint else ''}")
            for what, address in page.links.items():
                say(console, f"  {what}: {address}")
            if only_print and page.command:
                say(console, f"  {page.shown}")
        if not only_print:
            for page in (page for page in found if page.command):
                check_port(page)
            serve(found, lambda: say(console, "ready; Ctrl-C ends what was started here"))

    return Output(facts, show)
