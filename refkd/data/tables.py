"""The moment table on disk, and the pairs of a role made from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from refkd.data.moments import Moment
from refkd.data.pairs import Contents, Pairs, Windows
from refkd.data.roles import Role
from refkd.data.store import Store
from refkd.data.words import CHARACTERS_PER_WORD, Words, query_key
from refkd.errors import DataError

_SPAN = pa.list_(pa.float64(), 2)
_REPAIRS = pa.list_(pa.struct([("kind", pa.string()), ("before", _SPAN), ("after", _SPAN)]))
SCHEMA = pa.schema(
    [
        ("pair_id", pa.string()),
        ("video_id", pa.string()),
        ("role", pa.string()),
        ("query", pa.string()),
        ("tokens", pa.list_(pa.string())),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("duration", pa.float64()),
        ("clips", pa.int64()),
        ("start_clip", pa.int64()),
        ("end_clip", pa.int64()),
        ("repairs", _REPAIRS),
    ]
)
"""One row a pair; times in seconds as annotated, clips inclusive, repairs as (start, end)."""
SEVERAL = [
    pa.field("windows", pa.list_(_SPAN)),
    pa.field("window_clips", pa.list_(pa.list_(pa.int64(), 2))),
]
"""Columns of a table where a query has several windows: all of them, in seconds and in clips."""
NAMED = pa.field("qid", pa.string())
"""The column of a table where queries have names: JSON, so that 7 is not "7"."""


def write_table(
    path: Path,
    rows: Iterable[tuple[Role, Moment]],
    *,
    tokens: Sequence[list[str]],
    clips: Sequence[int],
    spans: Sequence[Sequence[tuple[int, int]]],
) -> None:
    """Write the moments of some roles with their tokens, clip counts and each window's label."""
    rows = list(rows)
    records = [
        {
            "pair_id": m.pair_id,
            "video_id": m.video_id,
            "role": role,
            "query": m.query,
            "tokens": words,
            "start": m.start,
            "end": m.end,
            "duration": m.duration,
            "clips": count,
            "start_clip": labels[0][0],
            "end_clip": labels[0][1],
            "repairs": [repair._asdict() for repair in m.repairs],
            "windows": m.windows,
            "window_clips": labels,
            "qid": None if m.qid is None else json.dumps(m.qid),
        }
        for (role, m), words, count, labels in zip(rows, tokens, clips, spans, strict=True)
    ]
    schema = SCHEMA
    for field in SEVERAL if any(m.further for _, m in rows) else ():
        schema = schema.append(field)
    if any(m.qid is not None for _, m in rows):
        schema = schema.append(NAMED)
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path)


def read_pairs(
    path: Path, roles: Iterable[Role], store: Store, words: Words, text: Store | None = None
) -> dict[Role, Pairs]:
    """Return the pairs of each role in a table, with their contents from the store.

    `text` holds the queries, where those are given as features, and else they are `words`.
    """
    try:
        table = pq.read_table(path, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: damaged ({error}); prepare the dataset again") from None
    further = [field for field in table.schema if field.name not in SCHEMA.names]
    base = pa.schema([field for field in table.schema if field.name in SCHEMA.names])
    if not base.equals(SCHEMA) or any(field not in (*SEVERAL, NAMED) for field in further):
        raise DataError(f"{path}: not a moment table of this refkd; prepare the dataset again")
    if absent := set(table["video_id"].unique().to_pylist()) - store.first.keys():
        raise DataError(
            f"{path}: damaged (no features of video {min(absent)}); prepare the dataset again"
        )
    said = table["query"].unique().to_pylist()
    if text is not None and (unread := [q for q in said if query_key(q) not in text.first]):
        raise DataError(
            f"{path}: damaged (no features of {unread[0]!r}); prepare the dataset again"
        )
    return {
        role: _pairs(table.filter(pc.equal(table["role"], role)), role, store, words, text)
        for role in roles
    }


def _windows(table: Any) -> Windows | None:
    """Return all windows of the pairs of a table; None where none has several."""
    if "windows" not in table.column_names:
        return None
    counts = pc.list_value_length(table["windows"]).to_numpy().astype(np.int64)
    if counts.max(initial=1) == 1:
        return None

    def padded(name: str, kind: type) -> Any:
        rows = table[name].to_pylist()
        longest = int(counts.max())
        return np.array([row + row[:1] * (longest - len(row)) for row in rows], dtype=kind)

    return Windows(
        seconds=padded("windows", np.float64),
        spans=padded("window_clips", np.int64),
        counts=counts,
    )


def _qids(table: Any) -> list[str | int | None] | None:
    if "qid" not in table.column_names:
        return None
    return [None if qid is None else json.loads(qid) for qid in table["qid"].to_pylist()]


def _pairs(table: Any, role: Role, store: Store, words: Words, text: Store | None) -> Pairs:
    def numbers(*names: str) -> Any:
        columns = [table[name].to_numpy() for name in names]
        return np.stack(columns, axis=1) if len(columns) > 1 else columns[0].copy()

    video_ids, queries = table["video_id"].to_pylist(), table["query"].to_pylist()
    contents = (
        _contents(table["tokens"].combine_chunks(), video_ids, store, words)
        if text is None
        else _text_contents([query_key(query) for query in queries], video_ids, store, text)
    )
    return Pairs(
        role=role,
        pair_ids=table["pair_id"].to_pylist(),
        video_ids=video_ids,
        queries=queries,
        moments=numbers("start", "end"),
        duration=numbers("duration"),
        clips=numbers("clips"),
        spans=numbers("start_clip", "end_clip"),
        contents=contents,
        windows=_windows(table),
        qids=_qids(table),
    )


def _contents(tokens: Any, video_ids: list[str], store: Store, words: Words) -> Contents:
    lengths = pc.list_value_length(tokens).to_numpy(zero_copy_only=False).astype(np.int64)
    coded = pc.dictionary_encode(tokens.flatten())
    filled = np.arange(lengths.max(initial=1)) < lengths[:, None]
    positions = np.zeros(filled.shape, dtype=np.int32)
    positions[filled] = coded.indices.to_numpy() + 1
    word_ids, character_ids = words.encode_tokens(coded.dictionary.to_pylist())
    return Contents(
        clips=store.rows,
        first=np.array([store.first[video] for video in video_ids], dtype=np.int64),
        tokens=positions,
        lengths=lengths,
        words=np.concatenate([[0], word_ids]),
        characters=np.concatenate([np.zeros_like(character_ids[:1]), character_ids]),
    )


def _text_contents(keys: list[str], video_ids: list[str], store: Store, text: Store) -> Contents:
    lengths = np.array([text.counts[key] for key in keys], dtype=np.int64)
    return Contents(
        clips=store.rows,
        first=np.array([store.first[video] for video in video_ids], dtype=np.int64),
        tokens=(np.arange(lengths.max(initial=1)) < lengths[:, None]).astype(np.int32),
        lengths=lengths,
        words=np.array([0, 1], dtype=np.int64),
        characters=np.zeros((2, CHARACTERS_PER_WORD), dtype=np.int64),
        text=text.rows,
        text_first=np.array([text.first[key] for key in keys], dtype=np.int64),
    )
