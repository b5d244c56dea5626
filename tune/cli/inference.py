"""`refkd predict` and `refkd promote`: use what a search has found."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from tune.cli.command import Output, StudyArgument, printed, say

if TYPE_CHECKING:
    from rich.console import Console

    from tune.inference.predict import Prediction


@printed
def predict(
    model: Annotated[
        str, Option(help="models:/NAME@ALIAS, models:/NAME/VERSION, or a folder.", metavar="URI")
    ],
    features: Annotated[Path, Option(help="Clip features of one video: .npy, .npz or HDF5.")],
    query: Annotated[list[str], Option(help="A sentence; may be given several times.")],
    duration: Annotated[float | None, Option(help="The video's seconds; else one a row.")] = None,
    top: Annotated[int, Option(help="Spans of each query.", min=1)] = 5,
    video: Annotated[str | None, Option(help="The entry of an HDF5 file.")] = None,
    png: Annotated[Path | None, Option(help="Draw the timeline to a PNG, SVG or PDF too.")] = None,
    tracking: Annotated[
        str | None,
        Option(
            help="Tracking store or server of the model [MLFLOW_TRACKING_URI, else that of runs]."
        ),
    ] = None,
    study: Annotated[Path | None, Option(help="Use the tracking store of a study file.")] = None,
) -> Output:
    """Find the moments of sentences in a video, by its clip features.

    Reads safetensors and JSON alone; weights other than the registered ones are refused.

    Example: `refkd predict --model models:/refkd-quickstart@best-ood --features video.npy
    --query "a person opens the door" --duration 30.5 --png spans.png`
    """
    from tune.inference.predict import draw_answers
    from tune.inference.predict import predict as run
    from tune.study.locate import default_tracking, locate

    if tracking is None and study is not None:
        tracking = locate(study).tracking
    elif tracking is None:
        tracking = os.environ.get("MLFLOW_TRACKING_URI") or default_tracking(Path("runs"))
    found = run(model, features, query, tracking=tracking, video=video, duration=duration, top=top)
    if png is not None:
        draw_answers(found.answers, found.duration, png)
    return Output(found, partial(_show_prediction, png=png))


def _show_prediction(console: Console, found: Prediction, *, png: Path | None) -> None:
    from tune.display.console import say_caveats
    from tune.inference.predict import show_answers

    show_answers(console, found.answers, found.duration)
    say(console, ", ".join([found.model, *(f"{k} {v}" for k, v in found.facts.items())]), "dim")
    say_caveats(console, found.marks)
    if not found.duration_given:
        console.print("without --duration each row of the features counts as one second")
    if png is not None:
        say(console, f"drawn to {png}")


@printed
def promote(
    study: StudyArgument,
    alias: Annotated[str, Option(help="best-id, best-ood, best-balanced, or your own.")],
    trial: Annotated[int, Option(help="A complete trial.", min=0)],
    reason: Annotated[str, Option(help="Why; the version's description shows it.")],
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
    return Output(value, text)
