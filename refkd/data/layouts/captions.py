"""JSON of videos by id, each with its timestamps and sentences.

ActivityNet Captions (Krishna et al., 2017), Charades-CD and ActivityNet-CD (Yuan et al., 2021),
Charades-CG and ActivityNet-CG (Li et al., 2022) count in seconds; TACoS (Regneri et al., 2013), in
the form of 2D-TAN and VSLNet, in frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from refkd.data.layouts.files import read_videos, require, without_media
from refkd.data.layouts.record import Columns, Layout, Reader, Record
from refkd.data.moments import SPLITS, Split
from refkd.data.splits import ACTIVITYNET
from refkd.errors import DataError
from refkd.files import encodable

Seconds = Callable[[dict[str, Any], str], tuple[Any, Callable[[Any], Any]]]
"""From an entry and its place to the duration, and what turns a timestamp into seconds."""


def captions(key: str) -> Reader:
    """Return the reader of timestamps in seconds, with the video's duration under `key`."""

    def seconds(entry: dict[str, Any], where: str) -> tuple[Any, Callable[[Any], Any]]:
        require(entry, ("timestamps", "sentences"), where, "entry")
        return entry.get(key), lambda span: span

    return lambda path, columns: _read(path, seconds, video_id=lambda video: video)


def _frames(entry: dict[str, Any], where: str) -> tuple[Any, Callable[[Any], Any]]:
    require(entry, ("fps", "num_frames", "timestamps", "sentences"), where, "entry")
    fps, frames = entry["fps"], entry["num_frames"]
    for name, value in (("fps", fps), ("num_frames", frames)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise DataError(f"{where}: {name} is {value!r}; give a number above 0")

    def seconds(span: Any) -> Any:
        if not isinstance(span, list):
            return span
        return [_over(frame, fps) for frame in span]

    return _over(frames, fps), seconds


def _over(frame: Any, fps: float) -> Any:
    if isinstance(frame, bool) or not isinstance(frame, int | float):
        return frame
    try:
        return frame / fps
    except OverflowError:  # an integer above every float, which the common checks refuse
        return frame


def _read(path: Path, seconds: Seconds, *, video_id: Callable[[str], str]) -> Iterator[Record]:
    for video, entry in read_videos(path).items():
        if not encodable(video):
            raise DataError(f"{path}: the id {video!r} holds half a character; write it again")
        where = f"{path}: video {video}"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: is {entry!r}; give its duration, timestamps and sentences")
        duration, in_seconds = seconds(entry, where)
        times, queries = entry["timestamps"], entry["sentences"]
        if not isinstance(times, list) or not isinstance(queries, list):
            raise DataError(f"{where}: timestamps and sentences must be lists of equal length")
        if len(times) != len(queries) or not times:
            raise DataError(
                f"{where}: {len(times)} timestamps but {len(queries)} sentences; give one of each "
                f"a pair, at least one"
            )
        for k, (span, query) in enumerate(zip(times, queries, strict=True)):
            yield Record(
                where=f"{where}, pair {k}",
                video=video_id(video),
                query=query,
                windows=[in_seconds(span)],
                duration=duration,
            )


def _tacos(path: Path, columns: Columns) -> Iterator[Record]:
    return _read(path, _frames, video_id=without_media)


def _changing(prefix: str) -> dict[Split, str]:
    return {split: f"{prefix}_{split}.json" for split in SPLITS}


# The third test set of both is named by hand: it has no role of its own.
_COMPOSITIONAL: dict[Split, str] = {
    "train": "train.json",
    "test_iid": "test_trivial.json",
    "test_ood": "novel_composition.json",
}

LAYOUTS = (
    Layout(
        name="charades-cd",
        about="the four JSON files of Charades-CD",
        read=captions("video_duration"),
        suffixes=(".json",),
        files=_changing("charades"),
        prefix="charades_",
        required=SPLITS,
        published={"train": 11_071, "val": 859, "test_iid": 823, "test_ood": 3_375},
        exact=True,
        duplicates=(),
        shared=(),
    ),
    Layout(
        name="activitynet-cd",
        about="the four JSON files of ActivityNet-CD",
        read=captions("duration"),
        suffixes=(".json",),
        files=_changing("anet"),
        prefix="anet_",
        required=SPLITS,
        carve=ACTIVITYNET,
        published={"train": 51_415, "val": 3_521, "test_iid": 3_443, "test_ood": 13_578},
        exact=True,
        duplicates=("train",),
        shared=(),
    ),
    Layout(
        name="activitynet-captions",
        about="train.json, val_1.json (val) and val_2.json (test) of ActivityNet Captions",
        read=captions("duration"),
        suffixes=(".json",),
        files={"train": "train.json", "val": "val_1.json", "test_iid": "val_2.json"},
        carve=ACTIVITYNET,
        published={"train": 37_421, "val": 17_505, "test_iid": 17_031},
        # val_1 and val_2 are two annotations of the same videos.
        shared=(("val", "test_iid"), ("val", "test_ood"), ("test_iid", "test_ood")),
    ),
    Layout(
        name="tacos",
        about="train.json, val.json and test.json of TACoS, in frames",
        read=_tacos,
        suffixes=(".json",),
        published={"train": 10_146, "val": 4_589, "test_iid": 4_083},
    ),
    Layout(
        name="charades-cg",
        about="train.json, test_trivial.json and novel_composition.json of Charades-CG",
        read=captions("duration"),
        suffixes=(".json",),
        files=_COMPOSITIONAL,
    ),
    Layout(
        name="activitynet-cg",
        about="train.json, test_trivial.json and novel_composition.json of ActivityNet-CG",
        read=captions("duration"),
        suffixes=(".json",),
        files=_COMPOSITIONAL,
        carve=ACTIVITYNET,
    ),
)
