"""The `refkd` command: one file a command group, heavy imports inside the commands."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer
from typer import Option

from refkd.errors import RefKDError
from tune.cli import audit, data, evaluation, search, study
from tune.cli.encoding import readable_paths
from tune.exits import ExitCode, UnfinishedError
from tune.study.user import name_the_user

app = typer.Typer(
    name="refkd",
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
    *(search.init, search.schema, search.search, search.share),
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


def main() -> None:
    """Run the command and exit with its `ExitCode`; what a user can mend is one line."""
    name_the_user()
    try:
        with readable_paths():
            app()
    except RefKDError as error:
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True)
        console.print(f"refkd: {error}", style="red", markup=False, highlight=False)
        sys.exit(error.code if isinstance(error, UnfinishedError) else ExitCode.MISTAKE)
    except Exception:
        traceback.print_exc()
        sys.exit(ExitCode.FAULT)
