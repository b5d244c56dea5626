"""Answers of a retriever on a line for the video: in the terminal and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from refkd.errors import RefKDError
from refkd.files import replaced
from refkd.retriever import Span
from tune.display.plot import FORMATS
from tune.inference.predict import Answer

NARROWEST = 20
"""Columns of the line, at least."""
_OTHERS = 44
"""Columns that rank, times and score take beside it."""


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
        if answer.unknown:
            console.print(
                f"no vector for {', '.join(answer.unknown)}", style="yellow", markup=False
            )


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
