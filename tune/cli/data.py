"""`refkd data`: features of videos, published or simulated datasets, what one holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from tune.cli.command import JsonOption, Output, by_source, printed
from tune.ending.exits import ExitCode
from tune.ending.stopping import to_be_unwound

if TYPE_CHECKING:
    from rich.console import Console

    from refkd.data.dataset import Dataset
    from refkd.data.simulate import SimulationConfig

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

OutOption = Annotated[Path, Option(help="Folder to write; must not exist.")]


Layout = Literal[
    "charades-cd",
    "activitynet-cd",
    "charades-sta",
    "activitynet-captions",
    "tacos",
    "qvhighlights",
    "didemo",
    "charades-cg",
    "activitynet-cg",
    "table",
]
"""The names of `refkd.data.layouts`, which help must not import."""
SplitOption = Annotated[
    list[str] | None,
    Option("--split", metavar="NAME=FILE", help="File of train, val, test_iid or test_ood."),
]
ColumnOption = Annotated[
    list[str] | None,
    Option(
        "--column",
        metavar="FIELD=NAME",
        help="Column of a table's video, query, start, end, duration, split or qid.",
    ),
]
DurationsOption = Annotated[
    list[Path] | None,
    Option(
        "--durations",
        metavar="FILE",
        help="Lengths of videos: Charades' CSV, or JSON of seconds by id.",
    ),
]


@app.command()
@printed
def prepare(
    layout: Annotated[Layout, Argument(help="How the annotations are laid out.")],
    features: Annotated[
        list[str],
        Option(
            help="Folder with a file a video (.npy, .npz, .pt, .h5), or an HDF5 file; of several "
            "sources, which are joined, each as NAME=PATH.",
            metavar="[NAME=]PATH",
        ),
    ],
    out: OutOption,
    words: Annotated[Path | None, Option(help="Word vectors: .txt, .vec, .gz or .npz.")] = None,
    text_features: Annotated[
        Path | None,
        Option(help="In place of --words: a folder with a file a query, or an HDF5 file."),
    ] = None,
    annotations: Annotated[
        Path | None, Option(help="Folder of split files, or one file (train, or a table).")
    ] = None,
    split: SplitOption = None,
    column: ColumnOption = None,
    durations: DurationsOption = None,
    rows_per_second: Annotated[
        float | None, Option(help="Rows of features a second, to tell lengths of videos by.")
    ] = None,
    name: Annotated[str | None, Option(help="Name of the dataset; else the layout's.")] = None,
    val_fraction: Annotated[
        float, Option(help="Share of the train videos to validate on, without a split of val.")
    ] = 0.1,
    carve_fraction: Annotated[
        float | None, Option(help="q of the carve of val_ood; else the layout's.")
    ] = None,
    seed: Annotated[int, Option(help="Of the train videos to validate on.")] = 0,
    missing_features: Annotated[
        Literal["error", "skip"],
        Option(help="A video without features stops, or its pairs are left out and counted."),
    ] = "error",
    id_pattern: Annotated[
        list[str] | None,
        Option(
            help="How features are named where it is not by the video's id, such as '{vid}.mp4'.",
            metavar="[NAME=]PATTERN",
        ),
    ] = None,
    unit: Annotated[
        list[str] | None,
        Option(help="Scale each row of this source to length 1; may be repeated.", metavar="NAME"),
    ] = None,
    clips: Annotated[int, Option(help="Clips of a video, at most.", min=2, max=1024)] = 128,
    resample: Annotated[
        Literal["shorten", "always"],
        Option(help="Which videos get that many clips: the longer ones, or all of them."),
    ] = "shorten",
    jobs: Annotated[int, Option(help="Threads that read features.", min=1)] = 1,
    extractor: Annotated[
        list[str] | None,
        Option(
            help="Network, weights (fine-tuned?) and frame rate of the features.",
            metavar="[NAME=]TEXT",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> Output:
    """Prepare annotations, features, and word vectors or text features for a search.

    Only training pairs are needed. Test splits go into `sealed/`, `val_ood` is carved out of
    train, and without a split of val some train videos are one. The same inputs give the same
    fingerprint. The pages of the documentation describe each layout.

    Example: `refkd data prepare charades-cd --annotations charades_cd --features i3d
    --words glove.840B.300d.txt --out datasets/charades-cd`

    `refkd data prepare activitynet-cd --annotations activitynet_cd --features c3d.hdf5
    --words glove.840B.300d.txt --out datasets/activitynet-cd`

    `refkd data prepare charades-sta --annotations charades_sta --durations Charades_v1_train.csv
    --durations Charades_v1_test.csv --features i3d --words glove.840B.300d.txt
    --out datasets/charades-sta`

    `refkd data prepare activitynet-captions --annotations captions --features c3d.hdf5
    --words glove.840B.300d.txt --out datasets/captions`

    `refkd data prepare tacos --annotations tacos --features tacos_c3d.hdf5
    --words glove.840B.300d.txt --out datasets/tacos`

    `refkd data prepare qvhighlights --annotations moment_detr/data --features clip_features
    --words glove.840B.300d.txt --out datasets/qvhighlights`

    `refkd data prepare qvhighlights --annotations moment_detr/data --features clip_features
    --text-features clip_text_features --out datasets/qvhighlights-clip`

    `refkd data prepare didemo --annotations didemo --features didemo.hdf5
    --words glove.840B.300d.txt --out datasets/didemo`

    `refkd data prepare charades-cg --annotations charades_cg
    --split test_ood=charades_cg/novel_word.json --features i3d --words glove.840B.300d.txt
    --out datasets/charades-cg-word`

    `refkd data prepare activitynet-cg --annotations activitynet_cg --features c3d.hdf5
    --words glove.840B.300d.txt --out datasets/activitynet-cg`

    `refkd data prepare table --annotations mine.csv --column video=clip --column query=text
    --rows-per-second 1 --name mine --features mine.hdf5 --words glove.840B.300d.txt
    --out datasets/mine`
    """
    from refkd.data.prepare import prepare as make

    paths = {name: Path(value) for name, value in by_source(features, "--features").items()}
    with to_be_unwound():
        prepared = make(
            layout,
            annotations=annotations,
            files={role: Path(file) for role, file in _named("split", split).items()},
            columns=_named("column", column),
            durations=durations or (),
            rows_per_second=rows_per_second,
            name=name,
            val_fraction=val_fraction,
            carve_fraction=carve_fraction,
            seed=seed,
            features=paths,
            words=words,
            text_features=text_features,
            out=out,
            missing_features=missing_features,
            id_patterns=by_source(id_pattern or [], "--id-pattern", paths),
            unit=unit or (),
            max_clips=clips,
            resample=resample,
            jobs=jobs,
            extractor=by_source(extractor or [], "--extractor", paths),
            progress=not as_json,
        )
    return _shown(prepared)


@app.command()
@printed
def extract(
    model: Annotated[
        str, Option(help="CLIP or its kin as `transformers` has it: a folder, or a hub's name.")
    ],
    out: Annotated[Path, Option(help="HDF5 file to write, or to go on with.")],
    videos: Annotated[Path | None, Option(help="Folder of videos, nested or not.")] = None,
    queries: Annotated[
        Path | None, Option(help="Instead: annotations, a folder of split files or one file.")
    ] = None,
    layout: Annotated[Layout | None, Option(help="How --queries are laid out.")] = None,
    split: SplitOption = None,
    column: ColumnOption = None,
    fps: Annotated[float | None, Option(help="Rows a second of videos; 1 if not given.")] = None,
    device: Annotated[str, Option(help="Where the network runs: cpu, cuda, cuda:1.")] = "cpu",
    as_json: JsonOption = False,
) -> Output:
    """Make features of video files or of queries, for `refkd data prepare`.

    The same command adds videos and queries that are new; with videos it goes on where it was
    stopped. Files that cannot be read are named at the end, and the others are done. Needs
    `pip install refkd[extract]`.

    Example: `refkd data extract --videos videos --model openai/clip-vit-base-patch32
    --fps 1 --out features.h5`, then `refkd data extract --queries charades_cd --layout charades-cd
    --model openai/clip-vit-base-patch32 --out text.h5`
    """
    from refkd.errors import DataError

    if videos is not None and queries is None and layout is None:
        rate = 1.0 if fps is None else fps
        return _of_videos(videos, model, out, fps=rate, device=device, progress=not as_json)
    if queries is None or layout is None or videos is not None:
        raise DataError(
            "give --videos DIR, or --queries ANNOTATIONS and --layout NAME, but not all of them"
        )
    if fps is not None:
        raise DataError(f"--fps {fps:g} is of videos; leave it out with --queries")
    from refkd.data.annotations import read_queries
    from refkd.video.queries import extract_queries
    from tune.display.console import plural

    files = {role: Path(file) for role, file in _named("split", split).items()}
    read = read_queries(layout, queries, files=files, columns=_named("column", column))
    with to_be_unwound():
        made = extract_queries(read, model, out, device=device, progress=not as_json)
    cut = f", {made.cut:,} cut to as many tokens as are read" if made.cut else ""
    told = f"{made.path}: {plural(made.queries, 'sentence')}, {made.made:,} new{cut}"
    return Output(made, told)


def _of_videos(
    videos: Path, model: str, out: Path, *, fps: float, device: str, progress: bool
) -> Output:
    from refkd.video.extract import extract as make
    from tune.display.console import plural

    with to_be_unwound():
        made = make(videos, model, out, fps=fps, device=device, progress=progress)
    left = [f"{plural(len(made.failed), 'file')} could not be read:", *made.failed.values()]
    told = f"{made.path}: {plural(made.videos, 'video')}, {made.made:,} new"
    code = ExitCode.LEFT if made.failed else ExitCode.DONE
    return Output(made, "\n".join([told, *(left if made.failed else [])]), code)


@app.command()
@printed
def simulate(
    context: typer.Context,
    out: OutOption,
    annotations: Annotated[Path | None, Option(help="Published split files to build on.")] = None,
    config: Annotated[Path | None, Option(help="YAML with settings; options win over it.")] = None,
    videos: Annotated[int | None, Option(help="Invented train videos.")] = None,
    feature_dim: Annotated[int | None, Option(help="Width of the features.")] = None,
    max_clips: Annotated[int | None, Option(help="Clips of the longest video.")] = None,
    signal: Annotated[float | None, Option(help="Strength of the content; 0: none.")] = None,
    noise: Annotated[float | None, Option(help="Strength of the noise.")] = None,
    location_bias: Annotated[
        float | None, Option(help="Share of videos with habitual places.")
    ] = None,
    ood_shift: Annotated[float | None, Option(help="Share of shifted OOD videos.")] = None,
    seed: Annotated[int | None, Option(help="Seed of every draw.")] = None,
) -> Output:
    """Simulate a dataset: invented, or features for published annotations.

    Example: `refkd data simulate --out datasets/simulated`
    """
    from refkd.data.simulate import SimulationConfig
    from refkd.data.simulate import simulate as make

    options = {n: v for n, v in context.params.items() if v is not None}
    given = {n: v for n, v in options.items() if n in SimulationConfig.model_fields}
    settings = _settings(config, given)
    with to_be_unwound():
        made = make(out=out, config=settings, annotations=annotations)
    return _shown(made)


@app.command()
@printed
def show(
    dataset: Annotated[Path, Argument(help="A prepared dataset.")],
    verify: Annotated[bool, Option("--verify", help="Read and check every byte.")] = False,
) -> Output:
    """Show a prepared dataset: roles, repairs, lengths, where moments lie, features and words.

    Of the test roles it shows counts alone: nothing sealed is opened.

    Example: `refkd data show datasets/charades-cd`
    """
    from refkd.data.dataset import Dataset
    from refkd.data.profile import profile

    opened = Dataset.open(dataset)
    if verify:
        opened.verify()
    found = profile(opened)

    def show_both(console: Console, _: object) -> None:
        from tune.display.dataset import show_manifest, show_profile

        show_manifest(console, opened)
        show_profile(console, found)

    return Output({**opened.manifest.model_dump(), "profile": found}, show_both)


def _shown(dataset: Dataset) -> Output:
    from tune.display.dataset import show_manifest

    return Output(dataset.manifest, lambda console, _: show_manifest(console, dataset))


def _named(option: str, given: list[str] | None) -> dict[str, str]:
    """Return what `--option NAME=VALUE` says, by name."""
    from refkd.errors import DataError

    found: dict[str, str] = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not (name and sign and value) or name in found:
            why = "given twice" if name in found else "not NAME=VALUE"
            raise DataError(f"--{option} {text}: {why}; say it once, as in --{option} NAME=VALUE")
        found[name] = value
    return found


def _settings(path: Path | None, options: dict[str, Any]) -> SimulationConfig:
    """Return the settings of a YAML file with the command line's on top."""
    from pydantic import ValidationError

    from refkd.data.simulate import SimulationConfig
    from refkd.errors import DataError
    from tune.config.yaml_file import read_yaml

    file = None if path is None else read_yaml(path)
    try:
        return SimulationConfig.model_validate({**(file.content if file else {}), **options})
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"]) or "settings"
        place = f"{path}:{file.line(fault['loc'])}: " if file and name not in options else ""
        message = fault["msg"].removeprefix("Value error, ")
        raise DataError(f"{place}{name}: {message} (given {fault['input']!r})") from None
