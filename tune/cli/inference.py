"""`refkd predict` and `refkd promote`: use what a search has found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune.cli.options import StudyArgument
from tune.cli.output import Output, printed, say

if TYPE_CHECKING:
    from rich.console import Console

    from tune.inference.predict import Prediction


@printed
def predict(
    model: Annotated[
        str,
        typer.Option(help="models:/NAME@ALIAS, models:/NAME/VERSION, or a folder.", metavar="URI"),
    ],
    features: Annotated[
        Path, typer.Option(help="Clip features of one video: .npy, .npz or HDF5.")
    ],
    query: Annotated[list[str], typer.Option(help="A sentence; may be given several times.")],
    duration: Annotated[
        float | None,
        typer.Option(help="The video's seconds; else a row is one second.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(help="Spans of each query.", min=1)] = 5,
    video: Annotated[
        str | None, typer.Option(help="The entry of an HDF5 file.", show_default=False)
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Draw the timeline to this PNG, SVG or PDF too.", show_default=False),
    ] = None,
    tracking: Annotated[
        str | None,
        typer.Option(
            help="Tracking store or server of the model [MLFLOW_TRACKING_URI, else that of runs].",
            show_default=False,
        ),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="Take the tracking store of this study file.", show_default=False),
    ] = None,
) -> Output:
    """Find the moments of sentences in a video, by its clip features.

    Reads safetensors and JSON alone; weights that are not those that were registered are refused.

    Example: `refkd predict --model models:/refkd-quickstart@best-ood --features video.npy
    --query "a person opens the door" --duration 30.5 --png spans.png`
    """
    from tune.inference.predict import predict as ask
    from tune.inference.timeline import draw_answers

    found = ask(
        model,
        features,
        query,
        tracking=_tracking(tracking, study),
        video=video,
        duration=duration,
        top=top,
    )
    if png is not None:
        draw_answers(found.answers, found.duration, png)
    return Output(value=found, show=lambda console: _show(console, found, png))


@printed
def promote(
    study: StudyArgument,
    alias: Annotated[str, typer.Option(help="best-id, best-ood, best-balanced, or your own.")],
    trial: Annotated[int, typer.Option(help="A complete trial.", min=0)],
    reason: Annotated[str, typer.Option(help="Why; the version's description shows it.")],
) -> Output:
    """Give an alias of the study's registered model to a trial, with a reason.

    The version that had the alias gets ALIAS-before. Of a finalist, the student of its best fresh
    seed is registered. The next `refkd finalists` sets the aliases again.

    Example: `refkd promote studies/quickstart.yaml --alias best-ood --trial 4
    --reason "half the parameters, within the interval of trial 7"`
    """
    from dataclasses import asdict

    from tune.inference.promote import promote as run

    made = run(study, alias=alias, trial=trial, reason=reason)
    if made.before == made.version:
        text = f"version {made.version} of {made.model} (trial {trial}) is {alias} already"
    else:
        text = f"version {made.version} of {made.model} (trial {trial}) is {alias} now"
        text += f"; version {made.before} is {alias}-before" if made.before else ""
    value = {name: fact for name, fact in asdict(made).items() if name != "moved"}
    return Output(value=value, show=lambda console: say(console, text))


def _show(console: Console, found: Prediction, png: Path | None) -> None:
    from tune.display.study import say_marks
    from tune.inference.timeline import show_answers

    show_answers(console, found.answers, found.duration)
    say(console, ", ".join([found.model, *(f"{k} {v}" for k, v in found.facts.items())]), "dim")
    say_marks(console, found.marks)
    if not found.duration_given:
        console.print("without --duration each row of the features counts as one second")
    if png is not None:
        say(console, f"drawn to {png}")


def _tracking(given: str | None, study: Path | None) -> str:
    from tune.study.locate import default_tracking, locate

    if given is not None:
        return given
    if study is not None:
        return locate(study).tracking
    return os.environ.get("MLFLOW_TRACKING_URI") or default_tracking(Path("runs"))
