"""JSON lines of `qid, query, duration, vid, relevant_windows`: several windows a query.

QVHighlights (Lei et al., 2021) in the form of Moment-DETR, in which lighthouse and others ship
Charades, TACoS, ActivityNet and the CD splits too. Saliency is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from refkd.data.layouts.files import read_json_lines, require
from refkd.data.layouts.record import Columns, Layout, Record
from refkd.errors import DataError


def _read(path: Path, columns: Columns) -> Iterator[Record]:
    for where, line in read_json_lines(path):
        require(line, ("query", "vid"), where, "line")
        windows = line.get("relevant_windows")
        if windows is not None and not isinstance(windows, list):
            raise DataError(f"{where}: relevant_windows is {windows!r}; give [[start, end], …]")
        yield Record(
            where=where,
            video=line["vid"],
            query=line["query"],
            windows=windows,
            duration=line.get("duration"),
            qid=line.get("qid"),
        )


LAYOUTS = (
    Layout(
        name="qvhighlights",
        about="Moment-DETR's JSON lines, one file a split, several windows a query",
        read=_read,
        suffixes=(".jsonl",),
    ),
)
