"""A user's own table, JSON lines, CSV, TSV or Parquet: a row a video, query, start and end.

Fields and the columns that hold them unless others are named: `FIELDS`. Rows with one `qid` are
windows of one query. A file with a column of splits holds several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from refkd.data.layouts.files import number_of, read_json_lines, read_table
from refkd.data.layouts.names import split_of_name
from refkd.data.layouts.record import Columns, Layout, Record
from refkd.data.moments import SPLITS, Split
from refkd.errors import DataError

FIELDS = ("video", "query", "start", "end", "duration", "split", "qid")
NEEDED = FIELDS[:4]


def _read(path: Path, columns: Columns) -> Iterator[Record]:
    if unknown := sorted(set(columns) - set(FIELDS)):
        raise DataError(
            f"column {unknown[0]}={columns[unknown[0]]}: unknown field; give one of "
            f"{', '.join(FIELDS)}"
        )
    named = {field: columns.get(field, field) for field in FIELDS}
    texts = path.suffix in (".csv", ".tsv")
    rows = read_json_lines(path) if path.suffix == ".jsonl" else read_table(path)
    queries: dict[tuple[Split | None, Any], Record] = {}
    alone: list[Record] = []
    for where, row in rows:
        record = _record(where, row, named, columns, texts=texts)
        if record.qid is None:
            alone.append(record)
        elif (key := (record.split, str(record.qid))) in queries:
            queries[key] = _joined(queries[key], record)
        else:
            queries[key] = record
    yield from alone
    yield from queries.values()


def _record(
    where: str, row: Mapping[str, Any], named: Columns, columns: Columns, *, texts: bool
) -> Record:
    # A column that is asked for by name must be there; of the others only some must.
    for field in FIELDS:
        if named[field] not in row and (field in columns or field in NEEDED):
            raise DataError(
                f"{where}: has no column {named[field]!r} for {field}, but {', '.join(row)}; name "
                f"it with --column {field}=NAME"
            )
    found: dict[str, Any] = {field: row.get(name) for field, name in named.items()}
    if texts:
        for field in ("duration", "split", "qid"):
            found[field] = found[field] or None
        for field in ("start", "end", "duration"):
            if found[field] is not None:
                found[field] = number_of(found[field])
    return Record(
        where=where,
        video=found["video"],
        query=found["query"],
        windows=[[found["start"], found["end"]]],
        duration=found["duration"],
        qid=found["qid"],
        split=_split(found["split"], where),
    )


def _split(value: Any, where: str) -> Split | None:
    if value is None:
        return None
    split = split_of_name(value) if isinstance(value, str) else None
    if split is None:
        raise DataError(f"{where}: the split is {value!r}; give one of {', '.join(SPLITS)}")
    return split


def _joined(first: Record, other: Record) -> Record:
    assert first.windows is not None
    assert other.windows is not None
    for what in ("video", "query", "duration"):
        if getattr(first, what) != getattr(other, what):
            raise DataError(
                f"{other.where}: the {what} is {getattr(other, what)!r}, but "
                f"{getattr(first, what)!r} in another row of qid {first.qid!r}; give each query a "
                f"qid of its own"
            )
    return replace(first, windows=[*first.windows, *other.windows])


LAYOUTS = (
    Layout(
        name="table",
        about="your own JSON lines, CSV, TSV or Parquet, a row a video, query, start and end",
        read=_read,
        suffixes=(".jsonl", ".csv", ".tsv", ".parquet"),
    ),
)
