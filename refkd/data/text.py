"""Queries as features of their tokens, (M, d_t) each, made by a network such as CLIP or T5.

An array is found by the name of its query, where the annotations name queries, or by its sentence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkd.data.extraction import TextExtraction, text_extraction_of
from refkd.data.feature_facts import joined_sha256
from refkd.data.features import FeatureSource, NamedRows, open_features
from refkd.data.manifest import TextFacts
from refkd.data.moments import Annotations, Moment
from refkd.data.store import Packed, pack
from refkd.data.words import CHARACTERS_PER_WORD, MAX_WORDS, UNKNOWN, query_key
from refkd.errors import DataError


class TextFeatures:
    """The features of all queries, by the keys of their sentences."""

    def __init__(
        self, source: NamedRows, moments: Iterable[Moment], extraction: TextExtraction | None
    ) -> None:
        self.source, self.extraction = source, extraction
        self.cut: set[str] = set()
        """Keys of the queries with more than `MAX_WORDS` tokens."""
        self._names: dict[str, str] = {}
        self._queries: dict[str, str] = {}
        lacking: dict[str, str] = {}
        sentences: dict[str, set[str]] = defaultdict(set)
        for moment in moments:
            key = query_key(moment.query)
            qids = () if moment.qid is None else (f"qid{moment.qid}", str(moment.qid))
            found = next((n for n in (*qids, key, moment.query) if n in source), None)
            if found is None:
                lacking[key] = moment.query
                continue
            self._names.setdefault(key, found)
            self._queries.setdefault(key, moment.query)
            sentences[found].add(key)
            if len(sentences[found]) > 1:
                raise DataError(
                    f"{source.where(found)}: is of the qid of {moment.query!r} and of another "
                    f"sentence; name the features by the sha256 of each sentence"
                )
        if missing := {k: q for k, q in lacking.items() if k not in self._names}:
            raise DataError(_missing(source, missing))

    def where(self, video: str) -> str:
        """Return the file, the entry in it, and the sentence of a key."""
        return f"{self.source.where(self._names[video])} of {self._queries[video]!r}"

    def read(self, video: str) -> NDArray[Any]:
        """Return the array of a sentence's key, its first `MAX_WORDS` tokens."""
        rows = self.source.read(self._names[video])
        if rows.ndim > 1 and len(rows) > MAX_WORDS:
            self.cut.add(video)
        return rows[:MAX_WORDS] if rows.ndim else rows


def open_text(path: Path, annotations: Annotations, videos: FeatureSource) -> TextFeatures:
    """Return the features of queries in a folder with a file a query, or in an HDF5 file.

    Only queries about `videos` that have features need some. `DataError` where there is no such
    thing, or a query has none.
    """
    source = open_features(path, of="query")
    moments = (m for rows in annotations.splits.values() for m in rows if m.video_id in videos)
    return TextFeatures(source, moments, text_extraction_of(path) if path.is_file() else None)


def pack_text(
    text: TextFeatures, moments: Iterable[Moment], path: Path, *, dim: int | None = None, jobs: int
) -> Packed:
    """Write the features of the queries of some moments to one file."""
    keys = sorted({query_key(moment.query) for moment in moments})
    return pack(text, keys, path, max_clips=MAX_WORDS, dim=dim, jobs=jobs)


def text_facts(text: TextFeatures, opened: Packed, sealed: Packed) -> TextFacts:
    """Return the facts about what was packed; `DataError` where all tokens are the same."""
    if opened.low == opened.high:
        raise DataError(
            f"{text.where(next(iter(opened.rows)))}: its tokens are those of every other query; "
            "make the features again"
        )
    return TextFacts(
        dim=opened.dim,
        layout=text.source.layout,
        extraction=text.extraction,
        queries=len(opened.rows.keys() | sealed.rows.keys()),
        tokens=max([*opened.rows.values(), *sealed.rows.values()]),
        cut=len(text.cut),
        sha256=joined_sha256(part.sha256 for part in (opened, sealed)),
        source_sha256=joined_sha256(part.source_sha256 for part in (opened, sealed)),
    )


def checked_tokens(
    queries: Sequence[str], text: Sequence[NDArray[np.floating]], dim: int
) -> list[NDArray[np.float32]]:
    """Return the features (M, d_t) of each query as float32, its first `MAX_WORDS` tokens.

    `DataError` where they are not of so many queries, of another width, empty or not finite.
    """
    if len(text) != len(queries):
        raise DataError(f"text is of {len(text)} queries, not of {len(queries)}; give one of each")
    found = []
    for query, tokens in zip(queries, text, strict=True):
        rows = np.asarray(tokens, dtype=np.float32)[:MAX_WORDS]
        if rows.ndim != 2 or rows.shape[1] != dim or len(rows) == 0:
            raise DataError(
                f"text of {query!r} has the shape {rows.shape}; expected (tokens, {dim}) with at "
                f"least one token"
            )
        if not np.isfinite(rows).all():
            raise DataError(f"text of {query!r} holds values that are not finite; make it again")
        found.append(rows)
    return found


def token_ids(lengths: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what stands for words (B, M) and characters (B, M, C) of given tokens.

    >>> token_ids([1, 2])[0].tolist()
    [[1, 0], [1, 1]]
    """
    words = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64) * UNKNOWN
    return words, np.zeros((*words.shape, CHARACTERS_PER_WORD), dtype=np.int64)


def _missing(source: NamedRows, queries: dict[str, str]) -> str:
    (key, _), *_ = queries.items()
    named = ", ".join(map(repr, list(queries.values())[:3])) + (", …" if len(queries) > 3 else "")
    count = "1 query has" if len(queries) == 1 else f"{len(queries):,} queries have"
    return (
        f"{source.path}: {count} no features ({named}); name them by qid, or by the sha256 of the "
        f"sentence ({key[:12]}… for the first), as `refkd data extract --queries` does"
    )
