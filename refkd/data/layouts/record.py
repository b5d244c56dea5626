"""What every layout yields, and what is known of a layout beside how its files are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refkd.data.moments import SPLITS, Split
from refkd.data.splits import CHARADES, Carve


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A query as its file has it: nothing of it is checked yet."""

    where: str
    """The file, and the line, row or video in it, that errors name."""
    video: Any
    query: Any
    windows: Sequence[Any] | None
    """[start, end] in seconds each; None where the file says nothing of moments."""
    duration: Any = None
    """Seconds of the video; None where the file does not say."""
    qid: Any = None
    split: Split | None = None
    """Where one file holds several splits: its own; else None."""


Columns = Mapping[str, str]
"""From a field to the name of the column that holds it, for files whose columns have any names."""
Reader = Callable[[Path, Columns], Iterator[Record]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A family of annotation files."""

    name: str
    about: str
    """What the files are, in a line."""
    read: Reader
    """Yields the records of a file; `DataError` with file, place, value and remedy."""
    suffixes: tuple[str, ...]
    """Kinds of files; in a folder `train`, `val` and `test` in their names tell them apart."""
    files: Mapping[Split, str] = field(default_factory=dict)
    """The names of the files instead, where they are fixed."""
    prefix: str | None = None
    """Every file of a folder that begins so must be a split of the dataset."""
    required: tuple[Split, ...] = ("train",)
    carve: Carve = CHARADES
    """How `val_ood` is carved out of train."""
    published: Mapping[Split, int] | None = None
    """Pairs of the published files."""
    exact: bool = False
    """Other numbers of pairs than the published ones stop."""
    duplicates: tuple[Split, ...] = SPLITS
    """Where exact duplicates of a pair are kept and counted; elsewhere they stop."""
    shared: tuple[tuple[Split, Split], ...] = (("test_iid", "test_ood"),)
    """Splits that may have a video in common."""
