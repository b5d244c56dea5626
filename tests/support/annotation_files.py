"""A small set of annotations, written in every layout that `refkd data prepare` takes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

SECONDS = 30.0
FPS = 10


class Pair(NamedTuple):
    """A pair in multiples of five seconds, so that every layout can hold it."""

    video: str
    query: str
    windows: Sequence[tuple[float, float]]
    duration: float = SECONDS
    qid: int | None = None


Splits = Mapping[str, Sequence[Pair]]

FILES = {
    "charades-cd": "charades_{}.json",
    "activitynet-cd": "anet_{}.json",
    "charades-sta": "charades_sta_{}.txt",
    "activitynet-captions": "{}.json",
    "tacos": "{}.json",
    "qvhighlights": "highlight_{}_release.jsonl",
    "didemo": "{}_data.json",
    "charades-cg": "{}.json",
    "activitynet-cg": "{}.json",
    "table:jsonl": "{}.jsonl",
    "table:csv": "{}.csv",
    "table:tsv": "{}.tsv",
    "table:parquet": "{}.parquet",
}
"""Every layout, tables in each of their kinds, and what a split's file is called."""
NAMES = {
    **{("activitynet-captions", "val"): "val_1", ("activitynet-captions", "test_iid"): "val_2"},
    **{
        (f"{which}-cg", split): name
        for which in ("charades", "activitynet")
        for split, name in (("test_iid", "test_trivial"), ("test_ood", "novel_composition"))
    },
}
"""Where a file is not called by its split."""


def splits_of(kind: str) -> tuple[str, ...]:
    """Return the splits that a layout is published with."""
    if kind.endswith("-cd"):
        return ("train", "val", "test_iid", "test_ood")
    if kind.endswith("-cg"):
        return ("train", "test_iid", "test_ood")
    return ("train", "test_iid") if kind == "charades-sta" else ("train", "val", "test_iid")


def world(kind: str, *, videos: int = 20) -> dict[str, list[Pair]]:
    """Return annotations of two pairs a video: early ones, and a few train videos' late ones."""
    made = {}
    for split in splits_of(kind):
        pairs = []
        for k in range(videos if split == "train" else 4):
            video = f"{split}{k:02d}"
            start = 20.0 if k % 6 == 5 else 5.0 * (k % 2)
            pairs += [
                Pair(video, "person opens the door", [(start, start + 5.0 + 5.0 * (k % 3 == 0))]),
                Pair(video, "person closes the book", [(start, start + 10.0)]),
            ]
        made[split] = pairs
    return made


def path_of(kind: str, folder: Path, split: str) -> Path:
    """Return the file of a split."""
    return folder / FILES[kind].format(NAMES.get((kind, split), split))


def write_layout(kind: str, folder: Path, splits: Splits) -> dict[str, Any]:
    """Write annotations in a layout; return how they are read: place and durations."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in splits.items():
        _WRITERS[kind](path_of(kind, folder, split), pairs)
    given: dict[str, Any] = {"annotations": folder}
    if kind == "charades-sta":
        lengths = {pair.video: pair.duration for pairs in splits.values() for pair in pairs}
        (folder / "lengths.json").write_text(json.dumps(lengths), encoding="utf-8")
        given["durations"] = [folder / "lengths.json"]
    return given


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _captions(path: Path, pairs: Sequence[Pair], *, key: str = "duration") -> None:
    videos: dict[str, Any] = {}
    for pair in pairs:
        entry = videos.setdefault(
            pair.video, {key: pair.duration, "timestamps": [], "sentences": []}
        )
        entry["timestamps"].append(list(pair.windows[0]))
        entry["sentences"].append(pair.query)
    _dump(path, videos)


def _charades_cd(path: Path, pairs: Sequence[Pair]) -> None:
    _captions(path, pairs, key="video_duration")


def _tacos(path: Path, pairs: Sequence[Pair]) -> None:
    videos: dict[str, Any] = {}
    for pair in pairs:
        facts = {"fps": FPS, "num_frames": int(FPS * pair.duration)}
        empty = {**facts, "timestamps": [], "sentences": []}
        entry = videos.setdefault(f"{pair.video}.avi", empty)
        entry["timestamps"].append([int(FPS * second) for second in pair.windows[0]])
        entry["sentences"].append(pair.query)
    _dump(path, videos)


def _charades_sta(path: Path, pairs: Sequence[Pair]) -> None:
    lines = (f"{p.video} {p.windows[0][0]} {p.windows[0][1]}##{p.query}\n" for p in pairs)
    path.write_text("".join(lines), encoding="utf-8")


def _qvhighlights(path: Path, pairs: Sequence[Pair]) -> None:
    lines = []
    for pair in pairs:
        line = {
            "query": pair.query,
            "duration": pair.duration,
            "vid": pair.video,
            "relevant_windows": pair.windows,
        }
        lines.append(json.dumps(line if pair.qid is None else {"qid": pair.qid, **line}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _didemo(path: Path, pairs: Sequence[Pair]) -> None:
    entries = [
        {
            "annotation_id": pair.qid,
            "video": f"{pair.video}.mov",
            "description": pair.query,
            "num_segments": int(pair.duration / 5),
            "times": [[int(s / 5), int(e / 5) - 1] for s, e in pair.windows],
        }
        for pair in pairs
    ]
    _dump(path, entries)


def _table(path: Path, pairs: Sequence[Pair]) -> None:
    rows = [
        {
            "video": pair.video,
            "query": pair.query,
            "start": start,
            "end": end,
            "duration": pair.duration,
            **({} if pair.qid is None else {"qid": pair.qid}),
        }
        for pair in pairs
        for start, end in pair.windows
    ]
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            split = "\t" if path.suffix == ".tsv" else ","
            writer = csv.DictWriter(file, list(rows[0]), delimiter=split)
            writer.writeheader()
            writer.writerows(rows)


_WRITERS = {
    "charades-cd": _charades_cd,
    "activitynet-cd": _captions,
    "charades-sta": _charades_sta,
    "activitynet-captions": _captions,
    "tacos": _tacos,
    "qvhighlights": _qvhighlights,
    "didemo": _didemo,
    "charades-cg": _captions,
    "activitynet-cg": _captions,
    **dict.fromkeys((kind for kind in FILES if kind.startswith("table")), _table),
}
