"""`refkd replay`, `refkd bill`, `refkd export`: what a study did, what it cost, its curves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune.cli.options import LookArgument
from tune.cli.output import Output, printed

if TYPE_CHECKING:
    from rich.console import Console


@printed
def replay(
    study: LookArgument,
    trial: Annotated[
        int | None,
        typer.Option(help="Train this trial again and compare its metrics.", show_default=False),
    ] = None,
) -> Output:
    """Compute every suggestion and decision of a study again and compare, bit for bit.

    With --trial that trial is trained again from its first epoch, and its metrics are compared:
    equal bit for bit on the same type of CPU. Exits with 1 where something differs.

    Example: `refkd replay studies/quickstart.yaml`
    """
    from tune.audit.replay import replay as run
    from tune.audit.retrain import retrain
    from tune.study.snapshot import open_snapshot

    if trial is not None:
        again = retrain(study, trial)
        differences = [str(d) for d in again.differences]
        what = f"{again.epochs} epochs of trial {trial}"
        facts = asdict(again)
    else:
        result = run(open_snapshot(study).optuna)
        differences = [str(d) for d in result.differences]
        what = (
            f"{result.suggestions} suggestions and {result.decisions} decisions "
            f"({result.events} events)"
        )
        facts = asdict(result)

    def show(console: Console) -> None:
        console.print(f"replayed {what}: {'clean' if not differences else 'they differ'}")
        for difference in differences:
            console.print(f"  {difference}", style="red", markup=False, highlight=False)

    value = {**facts, "differences": differences}
    return Output(value=value, show=show, code=1 if differences else 0)


@printed
def bill(study: LookArgument) -> Output:
    """Show what a study has cost: by outcome, by teacher, by epoch and by point of hypervolume.

    Prices come from `prices` in the study file.

    Example: `refkd bill studies/quickstart.yaml`
    """
    from tune.display.cost import show_bill
    from tune.results.bill import make_bill
    from tune.study.snapshot import open_snapshot

    made = make_bill(open_snapshot(study))
    return Output(value=made, show=lambda console: show_bill(console, made))


def export(
    study: LookArgument,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("curves.json"),
) -> None:
    """Write a study's learning curves to a file that `refkd search --plan` can play back.

    Example: `refkd export studies/quickstart.yaml --out curves.json`
    """
    from tune.simulation.curves import curves_of, write_curves
    from tune.study.snapshot import open_snapshot

    table = curves_of(open_snapshot(study))
    write_curves(table, out)
    print(f"wrote {len(table.curves)} curves to {out}")
