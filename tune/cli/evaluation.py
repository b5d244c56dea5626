"""`refkd finalists`, `evaluate`, `reproduce`: results on fresh seeds, and the paper's tables."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from refkd.errors import RefKDError
from tune.cli.command import (
    AddressOption,
    AgainOption,
    FinalOption,
    JsonOption,
    Output,
    PlanOption,
    ReasonOption,
    StudyArgument,
    printed,
    progress,
)

EpochsOption = Annotated[
    int | None,
    Option(help="Epochs per network; else the scale's. Warm-ups keep their share.", min=1),
]
WorkspaceOption = Annotated[
    Path, Option(help="Where networks are kept, shared by all tables and studies.")
]


@printed
def finalists(
    study: StudyArgument,
    top: Annotated[int, Option(help="Trials by each objective and harmonic mean.", min=1)] = 3,
    seeds: Annotated[int, Option(help="Fresh seeds of each trial.", min=1)] = 3,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> Output:
    """Train the best trials again on fresh seeds and choose the champions by their means.

    Run the same command after any interruption: what is trained is kept. Only `fit`, `val_id` and
    `val_ood` are read.

    Example: `refkd finalists studies/quickstart.yaml --top 3 --seeds 5`
    """
    from tune.display.final import show_finalists
    from tune.results.finalists import finalists as run
    from tune.study.locate import locate

    with progress(as_json) as reporter:
        found = run(study, top=top, seeds=seeds, address=address, reporter=reporter)
    return Output(found, partial(show_finalists, folder=locate(study).folder))


@printed
def evaluate(
    study: StudyArgument,
    final: FinalOption = False,
    again: AgainOption = False,
    reason: ReasonOption = None,
) -> Output:
    """Score the champions and both teachers on `test_id` and `test_ood`, once a study.

    The evaluation is written to the study's ledger before a test file is opened. A further one
    needs --again and --reason.

    Example: `refkd evaluate --final studies/quickstart.yaml`
    """
    if not final:
        raise RefKDError(
            "evaluate opens the sealed test roles, one look a study: say --final; `refkd best` "
            "and `refkd finalists` show validation scores"
        )
    from tune.display.final import show_final
    from tune.results.sealed_scores import evaluate_final
    from tune.study.locate import locate

    report = evaluate_final(study, again=again, reason=reason)
    return Output(report, partial(show_final, folder=locate(study).folder))


@printed
def reproduce(
    name: Annotated[str, Argument(help="table1 to table5, figure1, figure3 or figure4.")],
    dataset: Annotated[Path, Option(help="A prepared dataset's folder.")],
    scale: Annotated[str, Option(help="smoke, small (hours) or paper (section 4).")] = "small",
    seeds: Annotated[int | None, Option(help="Seeds per row; else the scale's.", min=1)] = None,
    epochs: EpochsOption = None,
    workspace: WorkspaceOption = Path("runs"),
    out: Annotated[Path | None, Option(help="Result folder; else in the workspace.")] = None,
    workers: Annotated[int, Option(help="Networks trained at once.", min=1)] = 2,
    gpu: Annotated[float, Option(help="GPUs each of them holds.", min=0)] = 0.0,
    plan: PlanOption = False,
    final: FinalOption = False,
    again: AgainOption = False,
    reason: ReasonOption = None,
    tracking: Annotated[str | None, Option(help="MLflow's URI; else the workspace store.")] = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> Output:
    """Train what a table or figure of the paper compares, score it, and write it.

    Rows share teachers and knowledge, also with other tables. Run the same command after any
    interruption. Written as Markdown, CSV, LaTeX and JSON, with the settings of every row and a
    line a network; figures as PNG. Validation roles are scored unless --final is given.

    Example: `refkd reproduce table3 --dataset datasets/quickstart --scale smoke`
    """
    from tune.config.limits import Resources
    from tune.reproduce.reproduce import reproduce as run
    from tune.reproduce.request import Request, estimate
    from tune.reproduce.table import show_result

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
        cost = estimate(request)
        text = (
            f"{request.title}: {cost.networks} networks, {cost.done} of them trained already; "
            f"{cost.epochs} epochs left, about {_duration(cost.cpu_hours)} of CPU, "
            f"{_duration(cost.wall_hours)} with {workers} workers"
        )
        return Output(cost, text)
    with progress(as_json) as reporter:
        result, written = run(request, address=address, reporter=reporter)
    return Output(result.scored, lambda console, _: show_result(console, result, written))


def _duration(hours: float) -> str:
    """Return estimated hours as hours, minutes and seconds."""
    return str(timedelta(seconds=max(1, round(hours * 3600))))
