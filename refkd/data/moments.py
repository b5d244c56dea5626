"""The moment table, and the reader of the published Charades-CD and ActivityNet-CD files.

What is known to be dirty in the published files is kept, counted and listed as a `Repair`; no
pair is ever dropped. Anything else that is wrong stops with a `DataError`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from refkd.errors import DataError
from refkd.files import encodable, sha256_file

DatasetName = Literal["charades-cd", "activitynet-cd"]
Split = Literal["train", "val", "test_iid", "test_ood"]
SPLITS: tuple[Split, ...] = get_args(Split)

RepairKind = Literal[
    "end_after_video", "start_after_video", "reversed", "zero_length", "duplicate"
]


class Published(NamedTuple):
    """How a dataset is published: its file names, its key for durations, its pair counts."""

    prefix: str
    duration: str
    pairs: Mapping[Split, int]


PUBLISHED: dict[DatasetName, Published] = {
    "charades-cd": Published(
        "charades",
        "video_duration",
        {"train": 11_071, "val": 859, "test_iid": 823, "test_ood": 3_375},
    ),
    "activitynet-cd": Published(
        "anet",
        "duration",
        {"train": 51_415, "val": 3_521, "test_iid": 3_443, "test_ood": 13_578},
    ),
}

KNOWN_DUPLICATES = {("activitynet-cd", "train")}
"""Where exact duplicates of a pair are published; they are kept, so that the counts hold."""


class Repair(NamedTuple):
    """What reading changed, or would have to change, about a moment (seconds)."""

    kind: RepairKind
    before: tuple[float, float]
    after: tuple[float, float]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotations:
    """The moments of every split that was read, by video id and then in the file's order."""

    name: str
    splits: Mapping[Split, list[Moment]]
    sources: Mapping[str, str]
    """sha256 of each file read."""

    def repairs(self, split: Split) -> dict[str, int]:
        """Return how often each kind of repair was made in a split."""
        kinds = Counter(repair.kind for m in self.splits[split] for repair in m.repairs)
        return dict(sorted(kinds.items()))

    @property
    def as_published(self) -> bool:
        """Whether every split is there with the published number of pairs."""
        expected = next((p.pairs for n, p in PUBLISHED.items() if n == self.name), None)
        return {s: len(m) for s, m in self.splits.items()} == expected


def read_annotations(name: DatasetName, folder: Path, *, partial: bool = False) -> Annotations:
    """Read the split files of a dataset; all four, or with `partial` those that are there.

    Raises `DataError` naming file, video, value and remedy.
    """
    paths = _split_paths(name, folder, partial=partial)
    splits: dict[Split, list[Moment]] = {}
    home: dict[str, Path] = {}
    for split, path in paths.items():
        splits[split] = list(_read_split(name, split, path))
        for video in {moment.video_id for moment in splits[split]}:
            if video in home:
                raise DataError(
                    f"{path}: video {video} also stands in {home[video].name}; splits must not "
                    f"share a video, remove it from one"
                )
            home[video] = path
    sources = {path.name: sha256_file(path) for path in paths.values()}
    return Annotations(name=name, splits=splits, sources=sources)


def require_published(annotations: Annotations, folder: Path) -> None:
    """Raise `DataError` where a split has not the published number of pairs."""
    for name, published in PUBLISHED.items():
        if name != annotations.name:
            continue
        for split, expected in published.pairs.items():
            found = len(annotations.splits[split])
            if found != expected:
                raise DataError(
                    f"{folder / f'{published.prefix}_{split}.json'}: {found:,} pairs, published "
                    f"are {expected:,}; get the file again, or allow a subset with "
                    f"missing_features='skip' (--missing-features skip)"
                )


def detect_dataset(folder: Path) -> DatasetName:
    """Return which dataset's split files a folder holds."""
    found = [n for n, p in PUBLISHED.items() if any(folder.glob(f"{p.prefix}_*.json"))]
    if len(found) != 1:
        raise DataError(
            f"{folder}: expected the split files of one dataset (charades_*.json or anet_*.json), "
            f"found those of {len(found)}; give the folder that holds them"
        )
    return found[0]


def _split_paths(name: DatasetName, folder: Path, *, partial: bool) -> dict[Split, Path]:
    prefix = PUBLISHED[name].prefix
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one with {prefix}_train.json")
    expected: dict[Split, Path] = {split: folder / f"{prefix}_{split}.json" for split in SPLITS}
    for path in sorted(folder.glob(f"{prefix}_*.json")):
        if path not in expected.values():
            raise DataError(
                f"{path}: not a split of {name}; expected "
                f"{', '.join(p.name for p in expected.values())}; rename or remove it"
            )
    present = {split: path for split, path in expected.items() if path.is_file()}
    absent = [path.name for path in expected.values() if not path.is_file()]
    if absent and not (partial and present):
        raise DataError(f"{folder}: {absent[0]} is missing; put the published file there")
    return present


def _read_split(name: DatasetName, split: Split, path: Path) -> Iterator[Moment]:
    content = _read_json(path)
    for video in sorted(content):
        yield from _read_video(name, split, path, video, content[video])


def _read_json(path: Path) -> dict[str, Any]:
    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, times in Counter(key for key, _ in items).items():
            if times > 1:
                raise DataError(f"{path}: {key} stands {times} times; join or remove one")
        return dict(items)

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:  # also of a number of thousands of digits
        raise DataError(f"{path}: not valid JSON ({error}); get the file again") from None
    if not isinstance(content, dict) or not content:
        raise DataError(
            f"{path}: expected videos by id, found {type(content).__name__} without any"
        )
    return content


def _read_video(
    name: DatasetName, split: Split, path: Path, video: str, entry: Any
) -> Iterator[Moment]:
    key = PUBLISHED[name].duration
    where = f"{path}: video {video}"
    if not encodable(video):
        raise DataError(f"{path}: the id {video!r} holds half a character; write it again")
    if not isinstance(entry, dict):
        raise DataError(f"{where}: is {entry!r}; give {key}, timestamps and sentences")
    if missing := sorted({key, "timestamps", "sentences"} - entry.keys()):
        raise DataError(f"{where}: {', '.join(missing)} is missing; complete the entry")
    duration = _number(entry[key], f"{where}: {key}")
    if duration <= 0:
        raise DataError(f"{where}: {key} is {duration}; give the video's length in seconds")
    times, queries = entry["timestamps"], entry["sentences"]
    if not isinstance(times, list) or not isinstance(queries, list):
        raise DataError(f"{where}: timestamps and sentences must be lists of equal length")
    if len(times) != len(queries) or not times:
        raise DataError(
            f"{where}: {len(times)} timestamps but {len(queries)} sentences; give one of each "
            f"a pair, at least one"
        )
    seen: set[tuple[float, float, str]] = set()
    for k, (span, query) in enumerate(zip(times, queries, strict=True)):
        place = f"{where}, pair {k}"
        start, end = _span(span, place)
        if not isinstance(query, str) or not query.strip():
            raise DataError(
                f"{place}: the sentence is {query!r}; write a query or remove the pair"
            )
        if not encodable(query):
            raise DataError(
                f"{place}: the sentence {query!r} holds half a character, which no file can hold; "
                f"write it again"
            )
        duplicate = (start, end, query) in seen
        seen.add((start, end, query))
        if duplicate and (name, split) not in KNOWN_DUPLICATES:
            raise DataError(f"{place}: repeats {query!r} at {[start, end]}; remove one of the two")
        yield Moment(
            pair_id=f"{video}#{k}",
            video_id=video,
            query=query,
            start=start,
            end=end,
            duration=duration,
            repairs=tuple(_repairs(start, end, duration, duplicate=duplicate)),
        )


def _span(span: Any, place: str) -> tuple[float, float]:
    if not isinstance(span, list) or len(span) != 2:
        raise DataError(f"{place}: the timestamp is {span!r}; give [start, end] in seconds")
    start, end = (_number(value, f"{place}: the time") for value in span)
    if start < 0 or end < 0:
        raise DataError(f"{place}: the timestamp {span} is negative; count from the video's start")
    return start, end


def _number(value: Any, what: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer above every float
        number = math.inf
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{what} is {value!r}; give seconds as a finite number")
    return number


def _repairs(start: float, end: float, duration: float, *, duplicate: bool) -> Iterator[Repair]:
    """Yield what the grid does to the moment: clamp it, or give it the empty label (0, 0)."""
    before = (start, end)
    clamped = (min(start, duration), min(end, duration))
    if end > duration:
        yield Repair("end_after_video", before, clamped)
    if start >= duration:
        yield Repair("start_after_video", before, clamped)
    if end < start:
        yield Repair("reversed", before, clamped)
    if end == start:
        yield Repair("zero_length", before, clamped)
    if duplicate:
        yield Repair("duplicate", before, before)
