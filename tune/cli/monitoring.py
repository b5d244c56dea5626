"""`refkd watch`, `compare`, `ui`, `sync`: follow studies, compare them, send them to MLflow."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from refkd.errors import RefKDError
from tune.cli.options import LookArgument, StudyArgument
from tune.cli.output import Output, printed, say

if TYPE_CHECKING:
    from rich.console import Console

    from tune.display.ui import Page
    from tune.tracking.record import Synced


@printed
def watch(
    study: LookArgument,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 2.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --once: print JSON alone.")
    ] = False,
) -> Output:
    """Watch a search that runs elsewhere, until it has ended; Ctrl-C ends the watching alone.

    Only the study's storage is read. Exits with 1 where the search stopped with trials left.

    Example: `refkd watch studies/quickstart.yaml`
    """
    if as_json and not once:
        raise RefKDError("--json shows one moment; say --once too")
    from tune.display.search_status import look
    from tune.display.study import make_console
    from tune.display.watch import draw
    from tune.display.watch import watch as run
    from tune.study.snapshot import StudyReader

    reader = StudyReader(study)
    if once:
        sight = look(reader.read())
        return Output(value=sight, show=lambda console: console.print(draw(sight)))
    try:
        sight = run(make_console(), reader, every=every)
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    return Output(value=sight, show=lambda _: None, code=1 if sight.phase == "stopped" else 0)


@printed
def compare(
    studies: Annotated[
        list[str],
        typer.Argument(
            help="Two or more studies: study files, folders or URLs.", show_default=False
        ),
    ],
    reference: Annotated[
        list[float] | None,
        typer.Option(
            help="Where hypervolume begins, once for each objective; else 0.", show_default=False
        ),
    ] = None,
) -> Output:
    """Show studies side by side; the first one is the base of the differences.

    Champions are compared pair by pair on `val_id` and `val_ood`, where the studies share their
    dataset and the students are on this machine.

    Example: `refkd compare studies/quickstart.yaml studies/charades-cd-clip.yaml`
    """
    from tune.display.studies import show_studies
    from tune.results.side_by_side import side_by_side

    found = side_by_side(studies, reference)
    return Output(value=found, show=lambda console: show_studies(console, found))


@printed
def ui(
    study: LookArgument,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print addresses and commands, start nothing.")
    ] = False,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow.", min=1, max=65535)] = 5000,
    dashboard_port: Annotated[
        int, typer.Option(help="Port of optuna-dashboard.", min=1, max=65535)
    ] = 8080,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --print: print JSON alone.")
    ] = False,
) -> Output:
    """Open a study in MLflow and in optuna-dashboard, on this machine alone; Ctrl-C ends both.

    Where the study's record is on a tracking server, that server is named and none is started.

    Example: `refkd ui studies/quickstart.yaml`
    """
    if as_json and not only_print:
        raise RefKDError("--json prints what would be started; say --print too")
    from tune.display.servers import serve
    from tune.display.ui import check_port, pages

    found = pages(study, mlflow_port=mlflow_port, dashboard_port=dashboard_port)

    def show(console: Console) -> None:
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

    return Output(value=[_facts(page) for page in found], show=show)


def _facts(page: Page) -> dict[str, object]:
    return {
        "name": page.name,
        "address": page.address,
        "links": page.links,
        "command": page.shown or None,
    }


@printed
def sync(
    study: StudyArgument,
    everything: Annotated[
        bool, typer.Option("--all", help="Send again what the server has or has refused.")
    ] = False,
) -> Output:
    """Send to MLflow what its server could not take while the search ran.

    Exits with 1 where events are left, since the server is down, or were refused by it.

    Example: `refkd sync studies/quickstart.yaml`
    """
    from tune.tracking.record import sync as run

    found = run(study, everything=everything)
    code = 1 if found.left or found.refused else 0
    return Output(value=found, show=lambda console: say(console, _told(found)), code=code)


def _told(found: Synced) -> str:
    lines = [f"study {found.study}: {found.sent} events sent to {found.server}"]
    if found.left:
        lines.append(f"{found.left} left ({found.problem}); run the same command again")
    if found.refused:
        lines.append(f"{found.refused} refused, with the reasons in {found.refused_file}")
    if not found.left and not found.refused:
        lines.append("nothing is left")
    return "\n".join(lines)
