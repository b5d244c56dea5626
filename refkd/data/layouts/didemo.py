"""DiDeMo (Hendricks et al., 2017): moments are segments of 5 s, as several annotators chose them.

`times` holds an inclusive [first, last] segment for each annotator. What different annotators
chose are different windows of the query, those that more chose first. A video lasts as long as its
segments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refkd.data.layouts.files import read_json, require, without_media
from refkd.data.layouts.record import Columns, Layout, Record
from refkd.errors import DataError

SECONDS = 5.0
"""Of a segment."""


def _read(path: Path, columns: Columns) -> Iterator[Record]:
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise DataError(
            f"{path}: expected a list of descriptions, found {type(content).__name__} without any"
        )
    for number, entry in enumerate(content):
        where = f"{path}: entry {number}"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: is {entry!r}; give video, description and times")
        require(entry, ("video", "description", "times"), where, "entry")
        if not isinstance(entry["times"], list):
            raise DataError(f"{where}: times is {entry['times']!r}; give [[first, last], …]")
        chosen = Counter(_segments(times, where) for times in entry["times"])
        yield Record(
            where=where,
            video=without_media(entry["video"]),
            query=entry["description"],
            windows=[[SECONDS * a, SECONDS * (b + 1)] for (a, b), _ in chosen.most_common()],
            duration=_seconds(entry.get("num_segments"), where),
            qid=entry.get("annotation_id"),
        )


def _segments(times: Any, where: str) -> tuple[int, int]:
    if not isinstance(times, list) or len(times) != 2 or not all(map(_is_count, times)):
        raise DataError(f"{where}: the segments are {times!r}; give [first, last], from 0 on")
    first, last = times
    return first, last


def _seconds(segments: Any, where: str) -> float | None:
    if segments is None:
        return None
    if not _is_count(segments) or segments == 0:
        raise DataError(f"{where}: num_segments is {segments!r}; give a number of at least 1")
    return SECONDS * float(segments)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 20


LAYOUTS = (
    Layout(
        name="didemo",
        about="train_data.json, val_data.json and test_data.json of DiDeMo",
        read=_read,
        suffixes=(".json",),
        published={"train": 33_005, "val": 4_180, "test_iid": 4_021},
    ),
)
