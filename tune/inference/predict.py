"""Asking a trained retriever where in a video moments lie, and showing its answers on a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from refkd.config import Config
from refkd.data.features import HDF5_SUFFIXES, FolderFeatures, Hdf5Features, checked_rows
from refkd.errors import DataError, RefKDError
from refkd.files import replaced
from refkd.retriever import Span
from tune.display.plot import FORMATS
from tune.inference.model import load_model

FILE_SUFFIXES = (".npy", ".npz")
NARROWEST = 20
"""Columns of the line, at least."""
_OTHERS = 44
"""Columns that rank, times and score take beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The spans of one query, best first."""

    query: str
    spans: list[Span]


class Prediction(Config):
    """What was asked of which model, and its answers."""

    model: str
    facts: dict[str, str]
    """What the registry says of the model: `version`, `trial`."""
    clips: int
    """Rows of the features."""
    duration: float
    """Seconds of the video."""
    duration_given: bool
    """False where each row counts as one second."""
    marks: list[str]
    """Why the model's scores are not to be taken at face value: leakage, reconstructions."""
    answers: list[Answer]
    """Best spans first, in the order of the queries; seconds and scores."""


def predict(
    model: str,
    features: Path,
    queries: Sequence[str],
    *,
    tracking: str,
    video: str | None = None,
    duration: float | None = None,
    top: int = 1,
) -> Prediction:
    """Return the `top` spans of each query in the video of a feature file.

    `duration` is the video's length in seconds; without it a row counts as one second. Raises
    `RefKDError`, `CheckpointError` of the model and `DataError` of the features and queries.
    """
    rows = read_video(features, video)
    retriever, source, facts = load_model(model, tracking=tracking)
    seconds = float(len(rows)) if duration is None else duration
    spans = retriever.retrieve(rows, list(queries), duration=seconds, top=top)
    return Prediction(
        model=source,
        facts=facts,
        clips=len(rows),
        duration=seconds,
        duration_given=duration is not None,
        marks=retriever.marks,
        answers=[Answer(query=q, spans=s) for q, s in zip(queries, spans, strict=True)],
    )


def read_video(path: Path, video: str | None = None) -> NDArray[np.floating]:
    """Return the rows (T, V) of a video, a row a clip in order of time; nothing is unpickled.

    An HDF5 file holds an entry a video: `video` says which, where there are several. Raises
    `DataError` where the file is of another kind, cannot be read or holds no such features.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the features of one video")
    if path.suffix in FILE_SUFFIXES:
        if video is not None:
            raise DataError(f"{path}: holds one video; --video {video} is for HDF5 files")
        return checked_rows(FolderFeatures(path.parent, path.suffix), path.stem)
    if path.suffix not in HDF5_SUFFIXES:
        kinds = ", ".join((*FILE_SUFFIXES, *HDF5_SUFFIXES))
        raise DataError(f"{path}: unknown kind {path.suffix!r}; give one of {kinds}")
    source = Hdf5Features(path)
    with h5py.File(path, "r") as file:
        names = sorted(file)
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    if video is None:
        if len(names) != 1:
            raise DataError(f"{path}: holds {len(names)} videos ({some}); say which: --video")
        video = names[0]
    if video not in source:
        raise DataError(f"{path}: has no entry {video!r}; it holds {some}")
    return checked_rows(source, video)


def bar(span: Span, duration: float, width: int) -> str:
    """Return a line of `width` columns for the video, with the span filled in.

    >>> bar(Span(start=2.0, end=4.0, score=1.0), 10.0, 10)
    '──██──────'
    """
    first = min(math.floor(span.start / duration * width), width - 1)
    last = min(max(math.ceil(span.end / duration * width), first + 1), width)
    return "─" * first + "█" * (last - first) + "─" * (width - last)


def show_answers(console: Console, answers: Sequence[Answer], duration: float) -> None:
    """Print each query with its spans in seconds and where they lie in the video."""
    width = max(NARROWEST, console.width - _OTHERS)
    for answer in answers:
        title = Text(answer.query, style="bold")
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for name in ("", "start s", "end s", "score"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column(Text("0" + f"{duration:g} s".rjust(width - 1)), no_wrap=True)
        for rank, span in enumerate(answer.spans, start=1):
            line = Text(bar(span, duration, width), style="bold cyan" if rank == 1 else "cyan")
            table.add_row(
                str(rank), f"{span.start:.2f}", f"{span.end:.2f}", f"{span.score:.4f}", line
            )
        console.print(table)


def draw_answers(answers: Sequence[Answer], duration: float, path: Path) -> None:
    """Write the picture, a panel a query; `RefKDError` where the name's ending is no format."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise RefKDError(f"{path}: the picture's name must end in one of {', '.join(FORMATS)}")
    from matplotlib.figure import Figure

    ratios = [0.9 + 0.3 * len(answer.spans) for answer in answers]
    figure = Figure(figsize=(8, sum(ratios) + 0.4), layout="constrained")
    panels = figure.subplots(len(answers), squeeze=False, height_ratios=ratios, sharex=True)
    for axes, answer in zip(panels[:, 0], answers, strict=True):
        for rank, span in enumerate(answer.spans, start=1):
            color = "#2a6f97" if rank == 1 else "#8fb8cf"
            axes.barh(rank, span.end - span.start, left=span.start, height=0.6, color=color)
        axes.set_title(answer.query, loc="left", fontsize=10, parse_math=False)
        axes.set_xlim(0, duration)
        axes.set_ylim(len(answer.spans) + 0.6, 0.4)
        labels = [f"{s.start:.1f} to {s.end:.1f} s  ({s.score:.3f})" for s in answer.spans]
        axes.set_yticks(range(1, len(labels) + 1), labels, fontsize=9)
        axes.grid(axis="x", alpha=0.3)
    panels[-1, 0].set_xlabel("seconds")
    with replaced(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=120)
