"""`refkd finalists`, `evaluate`, `reproduce`, `predict`, `promote`: results, and their use."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from refkd.errors import RefKDError
from refkd.urls import Url
from tune.cli.command import (
    AddressOption,
    JsonOption,
    NoVerifyOption,
    Output,
    PlanOption,
    StudyArgument,
    by_source,
    printed,
    progress,
)

if TYPE_CHECKING:
    from rich.console import Console

    from tune.inference.predict import Prediction

FinalOption = Annotated[bool, Option("--final", help="Open the sealed test roles (recorded).")]
AgainOption = Annotated[bool, Option("--again", help="Evaluate on the test roles again.")]
ReasonOption = Annotated[str | None, Option(help="Why; every later result shows it.")]
ExportOption = Annotated[
    tuple[str, Path] | None,
    Option("--export", metavar="FORMAT FILE", help="Write predicted windows (qvhighlights)."),
]
SureOption = Annotated[
    float | None,
    Option(help="Probability that ends it; else all seeds are trained.", min=0.5, max=0.999),
]
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
    sure: SureOption = None,
    address: AddressOption = None,
    no_verify: NoVerifyOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Train the best trials again on fresh seeds and choose the champions by their means.

    Run the same command after any interruption: what is trained is kept. Only `fit`, `val_id` and
    `val_ood` are read. Exits with 3 where students are left; with 4 where every finalist failed;
    with 5 where the local cluster died: run it again.

    With --sure, seeds beyond the third are trained only for trials that may still be a champion,
    until each champion is the best with that probability, or --seeds are used.

    Example: `refkd finalists studies/quickstart.yaml --top 3 --seeds 5`
    """
    from tune.display.comparison import show_finalists
    from tune.results.finalists import finalists as run
    from tune.study.locate import locate

    reporter = progress(as_json)
    verify = not no_verify
    found = run(
        study,
        top=top,
        seeds=seeds,
        sure=sure,
        address=address,
        reporter=reporter,
        verify=verify,
    )
    return Output(found, partial(show_finalists, folder=locate(study).folder))


@printed
def evaluate(
    study: StudyArgument,
    final: FinalOption = False,
    again: AgainOption = False,
    reason: ReasonOption = None,
    export: ExportOption = None,
    role: Annotated[
        Literal["val_id", "val_ood"], Option(help="What --export answers, without --final.")
    ] = "val_id",
) -> Output:
    """Score the champions and both teachers on `test_id` and `test_ood`, once a study.

    The evaluation is an event of the study, and in its ledger, before a test file is opened. One
    that was killed before its results were stored is taken again as the same; a further one needs
    --again and --reason.

    --export writes the champion's windows of every query as JSON lines that the published
    evaluation of QVHighlights reads: of a validation role, which opens nothing, or with --final
    of both test roles.

    Example: `refkd evaluate --final studies/quickstart.yaml`

    `refkd evaluate studies/quickstart.yaml --export qvhighlights answers.jsonl`
    """
    from tune.results.submission import check_export, export_validation

    if export is not None:
        check_export(*export)
        if not final:
            written = export_validation(study, *export, role)
            text = (
                f"{written.queries:,} queries of {role}, answered by trial {written.trial} "
                f"({written.alias}): {written.path}"
            )
            return Output(written, text)
    if not final:
        raise RefKDError(
            "evaluate opens the sealed test roles, one look a study: say --final; `refkd best` "
            "and `refkd finalists` show validation scores"
        )
    from tune.display.comparison import show_final
    from tune.results.sealed_scores import evaluate_final
    from tune.study.locate import locate

    report = evaluate_final(
        study, again=again, reason=reason, export=None if export is None else export[1]
    )
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
    line a network; figures as PNG. Validation roles are scored unless --final is given. Exits with
    3 where networks are left; with 5 where the local cluster died: run it again.

    Example: `refkd reproduce table3 --dataset datasets/quickstart --scale smoke`
    """
    from tune.config.limits import Resources
    from tune.reproduce.formats import show_result
    from tune.reproduce.reproduce import reproduce as run
    from tune.reproduce.request import Request, estimate

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
        tracking=None if tracking is None else Url(tracking),
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
    result, written = run(request, address=address, reporter=progress(as_json))
    return Output(result.scored, lambda console, _: show_result(console, result, written))


def _duration(hours: float) -> str:
    return str(timedelta(seconds=max(1, round(hours * 3600))))


@printed
def predict(
    model: Annotated[
        str, Option(help="models:/NAME@ALIAS, models:/NAME/VERSION, or a folder.", metavar="URI")
    ],
    query: Annotated[list[str], Option(help="A sentence; may be given several times.")],
    features: Annotated[
        list[str] | None,
        Option(
            help="Clip features of one video: .npy, .npz, .pt or HDF5; of a model of several "
            "sources, each as NAME=PATH.",
            metavar="[NAME=]PATH",
        ),
    ] = None,
    duration: Annotated[float | None, Option(help="The video's seconds; else one a row.")] = None,
    top: Annotated[int, Option(help="Spans of each query.", min=1)] = 5,
    video: Annotated[
        str | None,
        Option(help="A video file; with --features the entry of an HDF5 file.", metavar="VIDEO"),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        Option(
            help="Where the network lies that makes features of a video file, if not as then.",
            metavar="[NAME=]MODEL",
        ),
    ] = None,
    text_encoder: Annotated[
        str | None,
        Option(help="Where the network lies that makes features of queries, if not as then."),
    ] = None,
    png: Annotated[Path | None, Option(help="Draw the timeline to a PNG, SVG or PDF too.")] = None,
    tracking: Annotated[
        str | None,
        Option(
            help="Tracking store or server of the model [MLFLOW_TRACKING_URI, else that of runs]."
        ),
    ] = None,
    study: Annotated[Path | None, Option(help="Use the tracking store of a study file.")] = None,
) -> Output:
    """Find the moments of sentences in a video file, or by its clip features.

    Reads safetensors and JSON alone; weights other than the registered ones are refused.

    Example: `refkd predict --model models:/refkd-quickstart@best-ood --features video.npy
    --query "a person opens the door" --duration 30.5 --png spans.png`, or `refkd predict
    --model champions/best-ood --video new.mp4 --query "a person opens the door"`
    """
    from tune.inference.predict import predict as run
    from tune.inference.timeline import draw_answers
    from tune.study.locate import default_tracking, locate

    if tracking is not None:
        server = Url(tracking)
    else:
        server = default_tracking(Path("runs")) if study is None else locate(study).tracking
    files = {name: Path(value) for name, value in by_source(features or [], "--features").items()}
    found = run(
        model,
        files or None,
        query,
        tracking=server,
        video=video,
        duration=duration,
        encoders=by_source(encoder or [], "--encoder"),
        text_encoder=text_encoder,
        top=top,
    )
    if png is not None:
        draw_answers(found.answers, found.duration, png)
    return Output(found, partial(_show_prediction, png=png))


def _show_prediction(console: Console, found: Prediction, *, png: Path | None) -> None:
    from tune.display.console import say, say_caveats
    from tune.inference.timeline import show_answers

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
    from tune.results.promote import promote as run

    made = run(study, alias=alias, trial=trial, reason=reason)
    again = made.before == made.version
    text = f"version {made.version} of {made.model} (trial {made.trial}) is {alias} "
    text += "already" if again else "now"
    text += f"; version {made.before} is {alias}-before" if made.before and not again else ""
    value = {name: fact for name, fact in asdict(made).items() if name != "moved"}
    return Output(value, text)
