"""`refkd search`, `refkd init`, `refkd schema`: begin a study."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from refkd.errors import RefKDError
from tune.cli.options import AddressOption, StudyArgument, interruptible
from tune.cli.output import Output, printed


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented study file to start from.

    Example: `refkd init study.yaml`
    """
    if path.exists() and not force:
        raise RefKDError(f"{path}: exists; give another name, or --force to replace it")
    text = files("tune").joinpath("templates/study.yaml").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}; set `dataset`, then run: refkd search {path}")


def schema() -> None:
    """Print the JSON schema of study files, for editors and programs.

    Example: `refkd schema > study.schema.json`
    """
    from tune.config.study_file import StudyFile

    print(json.dumps(StudyFile.model_json_schema(by_alias=True), indent=2))


@printed
def search(
    study: StudyArgument,
    address: AddressOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the search would take, and run nothing.")
    ] = False,
    curves: Annotated[
        Path | None,
        typer.Option(help="Plan on the curves that `refkd export` wrote.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON alone.")
    ] = False,
) -> Output:
    """Begin a search, or continue it: run the same command after any interruption.

    Trains both teachers where they are missing, then searches students until the budget is used
    up. Only `fit`, `val_id` and `val_ood` are read.

    Example: `refkd search studies/quickstart.yaml`
    """
    if plan:
        return _plan(study, curves)
    if curves is not None:
        raise RefKDError("--curves goes with --plan")
    from tune.display.console import make_console
    from tune.display.study import show_end
    from tune.execution.progress import Silent, reporter
    from tune.launch import search as launch

    told = Silent() if as_json else reporter(make_console())
    with interruptible():
        summary = launch(study, address=address, reporter=told)
    return Output(value=summary, show=lambda console: show_end(console, summary, study))


def _plan(study: Path, curves: Path | None) -> Output:
    from tune.config.study_file import load_study_file
    from tune.display.cost import show_plan
    from tune.simulation.plan import make_plan

    made = make_plan(study, load_study_file(study), curves=curves)
    return Output(value=made, show=lambda console: show_plan(console, made))
