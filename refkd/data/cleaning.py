"""From the records of any layout to moments: the checks that are the same for all.

What is odd is kept as a repair, which is counted, or it is a `DataError` with file, place, value
and remedy.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from refkd.data.layouts.record import Record
from refkd.data.moments import Moment, Repair, Split, Window, repairs_of
from refkd.errors import DataError
from refkd.files import encodable

SLACK = 0.1
"""Seconds that two rows may differ by about how long their video is."""


class Cleaning:
    """What every record goes through, whatever its layout."""

    def __init__(self, duplicates: Sequence[Split], durations: Callable[[str], Any]) -> None:
        self._duplicates = duplicates
        self._looked_up = durations
        self._durations: dict[str, float] = {}
        self._pairs: dict[str, int] = defaultdict(int)
        """Of each video, in the splits before."""

    def moments(self, split: Split, records: Sequence[Record]) -> Iterator[Moment]:
        """Yield the moments of a split, by video id and then in the file's order."""
        videos: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            videos[_video(record)].append(record)
        for video in sorted(videos):
            seen: set[tuple[tuple[Window, ...], str]] = set()
            for record in videos[video]:
                moment = self._moment(video, record)
                said = (moment.windows, moment.query)
                if said in seen:
                    moment = self._duplicate(split, moment, record)
                seen.add(said)
                yield moment

    def _moment(self, video: str, record: Record) -> Moment:
        duration = self._duration(video, record)
        if record.windows is None or len(record.windows) == 0:
            raise DataError(f"{record.where}: has no window; give one, or remove the query")
        windows = [_window(span, record.where) for span in record.windows]
        repairs: list[Repair] = []
        kept = list(dict.fromkeys(windows))
        for window in kept:
            twice = windows.count(window) > 1
            repairs += repairs_of(window, duration, duplicate=twice)
        number = self._pairs[video]
        self._pairs[video] += 1
        (start, end), *further = kept
        return Moment(
            pair_id=f"{video}#{number}",
            video_id=video,
            query=query_of(record),
            start=start,
            end=end,
            duration=duration,
            repairs=tuple(repairs),
            further=tuple(further),
            qid=_qid(record),
        )

    def _duration(self, video: str, record: Record) -> float:
        given = self._looked_up(video) if record.duration is None else record.duration
        if given is None:
            raise DataError(
                f"{record.where}: duration is missing; complete the file, or give the lengths of "
                f"videos with --durations FILE or --rows-per-second R"
            )
        duration = _number(given, f"{record.where}: duration")
        if duration <= 0:
            raise DataError(
                f"{record.where}: duration is {given}; give the video's length in seconds"
            )
        known = self._durations.setdefault(video, duration)
        if abs(known - duration) > SLACK:
            raise DataError(
                f"{record.where}: duration is {given}, but {known:g} in an earlier pair of video "
                f"{video}; give one length"
            )
        return duration

    def _duplicate(self, split: Split, moment: Moment, record: Record) -> Moment:
        window = (moment.start, moment.end)
        if split not in self._duplicates:
            raise DataError(
                f"{record.where}: repeats {moment.query!r} at {list(window)}; remove one of the "
                f"two"
            )
        repairs = (*moment.repairs, Repair("duplicate", window, window))
        return replace(moment, repairs=repairs)


def _video(record: Record) -> str:
    video = record.video
    if isinstance(video, int) and not isinstance(video, bool):
        video = str(video)
    if not isinstance(video, str) or not video.strip():
        raise DataError(f"{record.where}: the video is {video!r}; give its id")
    if not encodable(video):
        raise DataError(f"{record.where}: the id {video!r} holds half a character; write it again")
    return video


def query_of(record: Record) -> str:
    """Return the sentence of a record; `DataError` where it is none."""
    query, where = record.query, record.where
    if not isinstance(query, str) or not query.strip():
        raise DataError(f"{where}: the sentence is {query!r}; write a query or remove the pair")
    if not encodable(query):
        raise DataError(
            f"{where}: the sentence {query!r} holds half a character, which no file can hold; "
            f"write it again"
        )
    return query


def _qid(record: Record) -> str | int | None:
    qid = record.qid
    if qid is None or (isinstance(qid, int | str) and not isinstance(qid, bool)):
        if isinstance(qid, str) and not encodable(qid):
            raise DataError(f"{record.where}: the qid {qid!r} holds half a character; rename it")
        return qid
    raise DataError(f"{record.where}: the qid is {qid!r}; give a number or a text")


def _window(span: Any, where: str) -> Window:
    if not isinstance(span, list | tuple) or len(span) != 2:
        raise DataError(f"{where}: the timestamp is {span!r}; give [start, end] in seconds")
    start, end = (_number(value, f"{where}: the time") for value in span)
    if start < 0 or end < 0:
        raise DataError(
            f"{where}: the timestamp {list(span)} is negative; count from the video's start"
        )
    return start, end


def _number(value: Any, what: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer above every float
        number = math.inf
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{what} is {value!r}; give seconds as a finite number")
    return number
