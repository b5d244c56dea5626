"""The moment table: every pair of a dataset as annotated, and what is odd about it.

What is known to be dirty in annotation files is kept, counted and listed as a `Repair`; no pair is
ever dropped. Anything else that is wrong stops with a `DataError` (`refkd.data.annotations`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from refkd.config import Config

Split = Literal["train", "val", "test_iid", "test_ood"]
SPLITS: tuple[Split, ...] = get_args(Split)
Window = tuple[float, float]
"""Start and end in seconds, as annotated."""

RepairKind = Literal[
    "end_after_video", "start_after_video", "reversed", "zero_length", "duplicate"
]


class Repair(NamedTuple):
    """What reading changed, or would have to change, about a moment (seconds)."""

    kind: RepairKind
    before: Window
    after: Window


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One pair: a query and its moment, in seconds as annotated."""

    pair_id: str
    video_id: str
    query: str
    start: float
    end: float
    duration: float
    repairs: tuple[Repair, ...] = ()
    further: tuple[Window, ...] = ()
    """Other windows of the same query, where it is annotated with several."""
    qid: str | int | None = None
    """What the annotation file calls the query, where it names its queries."""

    @property
    def windows(self) -> tuple[Window, ...]:
        """All windows of the query, in the file's order."""
        return ((self.start, self.end), *self.further)


class Holdout(Config):
    """The validation videos that were taken out of train, because there was no such split."""

    fraction: float
    """Share of the train videos."""
    seed: int
    videos: list[str]
    """Sorted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotations:
    """The moments of every split that was read, by video id and then in the file's order."""

    name: str
    splits: Mapping[Split, list[Moment]]
    sources: Mapping[str, str]
    """sha256 of each file read."""
    layout: str | None = None
    """How the files are laid out; None where nothing was read."""
    published: Mapping[Split, int] | None = None
    """Pairs that the published files have, where they are known."""
    unlabelled: Mapping[str, int] = field(default_factory=dict)
    """Queries of each test file without any moment: such a file is left out."""
    holdout: Holdout | None = None

    def repairs(self, split: Split) -> dict[str, int]:
        """Return how often each kind of repair was made in a split."""
        kinds = Counter(repair.kind for m in self.splits[split] for repair in m.repairs)
        return dict(sorted(kinds.items()))

    @property
    def as_published(self) -> bool:
        """Whether every split is there with the published number of pairs."""
        counts = {split: len(moments) for split, moments in self.splits.items()}
        if self.holdout is not None:
            counts["train"] += counts.pop("val")
        return counts == self.published

    def shared_videos(self) -> dict[tuple[Split, Split], list[str]]:
        """Return the videos that stand in two splits, by the two."""
        videos = {s: {m.video_id for m in rows} for s, rows in self.splits.items()}
        both = {
            (a, b): sorted(videos[a] & videos[b])
            for a in videos
            for b in videos
            if SPLITS.index(a) < SPLITS.index(b)
        }
        return {pair: found for pair, found in both.items() if found}


def repairs_of(window: Window, duration: float, *, duplicate: bool) -> Iterator[Repair]:
    """Yield what the grid does to a window: clamp it, or give it the empty label (0, 0)."""
    start, end = window
    clamped = (min(start, duration), min(end, duration))
    if end > duration:
        yield Repair("end_after_video", window, clamped)
    if start >= duration:
        yield Repair("start_after_video", window, clamped)
    if end < start:
        yield Repair("reversed", window, clamped)
    if end == start:
        yield Repair("zero_length", window, clamped)
    if duplicate:
        yield Repair("duplicate", window, window)
