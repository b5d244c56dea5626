"""All commands of `refkd`, put together."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Option
from typer.core import TyperGroup

from tune.cli import audit, data, evaluation, search, study
from tune.ending.stopping import at_work


class _Commands(TyperGroup):
    """The commands, each of which a signal unwinds."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        with at_work():
            return super().invoke(ctx)


app = typer.Typer(
    name="refkd",
    cls=_Commands,
    help=(
        "Search the hyperparameters of Reflective Knowledge Distillation for video moment "
        "retrieval.\n\n"
        "Start with `refkd init study.yaml`, then `refkd search study.yaml`."
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # else each start would import Markdown, highlighting and tracebacks
    context_settings={"max_content_width": 100},
)
app.add_typer(data.app, name="data", help="Prepare, simulate and show datasets.")
app.add_typer(audit.cluster_app, name="cluster", help="Check cluster files and running clusters.")
for _command in (
    *(search.init, search.schema, search.search, search.retry, search.share),
    *(study.status, study.best, evaluation.finalists, evaluation.evaluate),
    *(audit.doctor, audit.replay, study.bill, audit.export),
    *(evaluation.reproduce, search.teach, study.report, evaluation.predict, evaluation.promote),
    *(study.watch, study.compare, study.ui, audit.sync),
):
    app.command()(_command)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        names = ("torch", "ray", "optuna", "mlflow")
        versions = ", ".join(f"{name} {version(name)}" for name in names)
        typer.echo(f"refkd {version('refkd')} ({versions})")
        raise typer.Exit


@app.callback()
def _refkd(
    version: Annotated[
        bool,
        Option(
            "--version", help="Print the versions in use.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass
