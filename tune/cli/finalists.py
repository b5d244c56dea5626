"""`refkd finalists` and `refkd evaluate`: from the end of a search to the result."""

from __future__ import annotations

from typing import Annotated

import typer

from refkd.errors import RefKDError
from tune.cli.options import AddressOption, JsonOption, StudyArgument, interruptible
from tune.cli.output import Output, printed


@printed
def finalists(
    study: StudyArgument,
    top: Annotated[
        int, typer.Option(help="Trials by each objective and by the harmonic mean.", min=1)
    ] = 3,
    seeds: Annotated[int, typer.Option(help="Fresh seeds of each trial.", min=1)] = 3,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> Output:
    """Train the best trials again on fresh seeds and choose the champions by their means.

    Run the same command after any interruption: what is trained is kept. Only `fit`, `val_id` and
    `val_ood` are read.

    Example: `refkd finalists studies/quickstart.yaml --top 3 --seeds 5`
    """
    from tune.display.console import make_console
    from tune.display.final import show_finalists
    from tune.execution.progress import Lines, Silent
    from tune.results.finalists import finalists as run
    from tune.study.locate import locate

    reporter = Silent() if as_json else Lines(make_console())
    with interruptible():
        found = run(study, top=top, seeds=seeds, address=address, reporter=reporter)
    folder = locate(study).folder
    return Output(value=found, show=lambda console: show_finalists(console, found, folder))


@printed
def evaluate(
    study: StudyArgument,
    final: Annotated[
        bool, typer.Option("--final", help="Open the sealed test roles, which is recorded.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Look again at a study that was evaluated.")
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option(help="Why; every later result shows it.", show_default=False),
    ] = None,
) -> Output:
    """Score the champions and both teachers on `test_id` and `test_ood`, once a study.

    The look is written to the study's ledger before a test file is opened. A further look needs
    --again and --reason.

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
    folder = locate(study).folder
    return Output(value=report, show=lambda console: show_final(console, report, folder))
