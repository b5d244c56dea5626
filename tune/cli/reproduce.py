"""`refkd reproduce`: the paper's tables and figures by one command."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune.cli.options import AddressOption, JsonOption, interruptible
from tune.cli.output import Output, printed, say

if TYPE_CHECKING:
    from tune.reproduce.request import Request


NameArgument = Annotated[
    str,
    typer.Argument(
        help="table1, table2, table3, table4, table5, figure1, figure3 or figure4.",
        show_default=False,
    ),
]
DatasetOption = Annotated[
    Path, typer.Option(help="A prepared dataset's folder.", show_default=False)
]
ScaleOption = Annotated[
    str, typer.Option(help="smoke (does it run?), small (hours) or paper (section 4).")
]
SeedsOption = Annotated[
    int | None,
    typer.Option(help="Seeds of each row instead of the scale's.", min=1, show_default=False),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        help="Epochs of every network instead of the scale's; warm-ups keep their share.",
        min=1,
        show_default=False,
    ),
]
WorkspaceOption = Annotated[
    Path, typer.Option(help="Where networks are kept, shared by all tables and studies.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the result; in the workspace where absent."),
]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Say what it would cost, and train nothing.")
]
FinalOption = Annotated[
    bool,
    typer.Option("--final", help="Score the sealed test roles, which is recorded."),
]
ReasonOption = Annotated[
    str | None,
    typer.Option(help="Why; the table shows it.", show_default=False),
]
TrackingOption = Annotated[
    str | None,
    typer.Option(help="MLflow's URI; the workspace's store where absent."),
]


@printed
def reproduce(
    name: NameArgument,
    dataset: DatasetOption,
    scale: ScaleOption = "small",
    seeds: SeedsOption = None,
    epochs: EpochsOption = None,
    workspace: WorkspaceOption = Path("runs"),
    out: OutOption = None,
    workers: Annotated[int, typer.Option(help="Networks trained at once.", min=1)] = 2,
    gpu: Annotated[float, typer.Option(help="GPUs each of them holds.", min=0)] = 0.0,
    plan: PlanOption = False,
    final: FinalOption = False,
    again: Annotated[bool, typer.Option("--again", help="Look at the test roles again.")] = False,
    reason: ReasonOption = None,
    tracking: TrackingOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> Output:
    """Train what a table or figure of the paper compares, score it, and write it.

    Rows share teachers and knowledge, also with other tables. Run the same command after any
    interruption. Written as Markdown, CSV, LaTeX and JSON, with the settings of every row and a
    line a network; figures as PNG. Validation roles are scored unless --final is said.

    Example: `refkd reproduce table3 --dataset datasets/quickstart --scale smoke`
    """
    from tune.config.limits import Resources
    from tune.display.console import make_console
    from tune.reproduce.reproduce import reproduce as run
    from tune.reproduce.request import Request

    request = Request(
        name=name,
        dataset=dataset,
        scale=scale,
        seeds=seeds,
        epochs=epochs,
        workspace=workspace,
        workers=workers,
        resources=Resources(gpu=gpu),
        out=out,
        tracking=tracking,
        final=final,
        again=again,
        reason=reason,
    )
    if plan:
        return _plan(request)
    from tune.execution.progress import Lines, Silent
    from tune.reproduce.shown import show_result

    with interruptible(), Silent() if as_json else Lines(make_console()) as reporter:
        result = run(request, address=address, reporter=reporter)
    return Output(value=result.scored, show=lambda console: show_result(console, result))


def _plan(request: Request) -> Output:
    from tune.reproduce.plan import plan

    found = plan(request)
    text = (
        f"{request.title}: {found.networks} networks, {found.done} of them trained already; "
        f"{found.epochs} epochs left, about {_spell(found.cpu_hours)} of CPU, "
        f"{_spell(found.wall_hours)} with {request.workers} workers"
    )
    return Output(value=found, show=lambda console: say(console, text))


def _spell(hours: float) -> str:
    """Return a guessed time as hours, minutes and seconds."""
    return str(timedelta(seconds=max(1, round(hours * 3600))))
