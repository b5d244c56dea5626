"""`refkd cluster`: is a cluster file right, and is a running cluster?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refkd.errors import RefKDError
from tune.cli.options import AddressOption
from tune.cli.output import Output, printed

app = typer.Typer(no_args_is_help=True)


@app.callback()
def cluster() -> None:
    """Check what `ray up` and KubeRay launch."""


@app.command()
@printed
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="A file for `ray up`, or KubeRay's RayCluster.", show_default=False),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="A study file that is to run there.", show_default=False),
    ] = None,
    address: AddressOption = None,
    storage: Annotated[
        Path | None,
        typer.Option(
            help="With --address: the shared folder; the study's workspace else.",
            show_default=False,
        ),
    ] = None,
) -> Output:
    """Find what `ray up` would not tell: in a file offline, or on every node that runs.

    Exits with 0 where nothing is wrong (notes may be there), with 1 where something is.

    Example: `refkd cluster check cluster.yaml --study studies/cluster.yaml`

    On the head: `refkd cluster check --address auto --study studies/cluster.yaml`
    """
    from tune.display.cluster import show_checked

    if (file is None) == (address is None):
        raise RefKDError("give a cluster file, or --address of a cluster that runs")
    if file is not None:
        from tune.cluster.check import check_file

        if storage is not None:
            raise RefKDError("--storage goes with --address; a file names its own folder")
        checked = check_file(file, study=study)
    else:
        from tune.cluster.running import check_running

        checked = check_running(str(address), study=study, storage=storage)
    return Output(
        value=checked,
        show=lambda console: show_checked(console, checked),
        code=1 if checked.problems else 0,
    )
