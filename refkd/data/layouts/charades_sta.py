"""Charades-STA (Gao et al., 2017): lines of `VIDEO START END##sentence`, no durations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from refkd.data.layouts.files import number_of, read_lines
from refkd.data.layouts.record import Columns, Layout, Record
from refkd.errors import DataError


def _read(path: Path, columns: Columns) -> Iterator[Record]:
    for where, line in read_lines(path):
        place, mark, query = line.partition("##")
        fields = place.split()
        if not mark or len(fields) != 3:
            raise DataError(f"{where}: is {line[:60]!r}; write VIDEO START END##sentence")
        video, start, end = fields
        window = [number_of(start), number_of(end)]
        yield Record(where=where, video=video, query=query, windows=[window])


LAYOUTS = (
    Layout(
        name="charades-sta",
        about="charades_sta_train.txt and charades_sta_test.txt, with --durations",
        read=_read,
        suffixes=(".txt",),
        published={"train": 12_408, "test_iid": 3_720},
    ),
)
