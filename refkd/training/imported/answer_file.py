"""A file of somebody else's answers, read without trusting it: JSONL, Parquet or npz.

Letters in shapes: N pairs, L clips, K spans.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from refkd.data.containers import open_arrays
from refkd.errors import DataError

Kind = Literal["logits", "probabilities", "spans"]
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "logits": ("start", "end"),
    "probabilities": ("start_prob", "end_prob"),
    "spans": ("spans",),
}
"""The columns of each kind of answers, beside `pair_id`."""
PAIR_ID = "pair_id"
SUFFIXES = (".jsonl", ".parquet", ".npz")
Row = tuple[str, tuple[NDArray[np.float64], ...]]
"""A pair's id and its columns: two of (L,), or one of (K, 3)."""


@dataclass
class Faults:
    """The pairs of a file that are wrong, by what is wrong with them and how it is mended."""

    path: Path
    ids: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, pair: str, what: str, remedy: str) -> None:
        """Note a pair."""
        self.ids.setdefault((what, remedy), []).append(pair)

    def check(self) -> None:
        """Raise `DataError` with the first kind of fault and its first three pairs, if any."""
        for (what, remedy), pairs in self.ids.items():
            raise DataError(f"{self.path}: {what}: {first_three(pairs)}; {remedy}")


@dataclass(frozen=True, kw_only=True)
class AnswerFile:
    """What stands in a file, whatever it is worth."""

    kind: Kind
    rows: list[Row]
    padded: bool
    """Whether the columns of logits and probabilities go on behind a video's last clip."""


def first_three(pairs: list[str]) -> str:
    """Return how many pairs there are, and the first three of them.

    >>> first_three(["a#0", "b#0", "b#1", "c#0"])
    '4 pairs, a#0, b#0, b#1 first'
    """
    if len(pairs) <= 3:
        return ", ".join(pairs)
    return f"{len(pairs):,} pairs, {', '.join(pairs[:3])} first"


def require_answers(path: Path) -> None:
    """Raise `DataError` where there is no file, or its name says that it is of another format."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: is no {', '.join(SUFFIXES)} file; write it as one of them")
    if not path.is_file():
        raise DataError(f"{path}: is missing; give the file of the teacher's answers")


def read_answer_file(path: Path) -> AnswerFile:
    """Return the answers of a file; `DataError` where it is missing, damaged or of no kind."""
    require_answers(path)
    faults = Faults(path)
    if path.suffix == ".npz":
        kind, rows = _npz(path)
    else:
        records = _jsonl(path) if path.suffix == ".jsonl" else _parquet(path)
        kind, rows = _of_records(path, records, faults)
    faults.check()
    return AnswerFile(kind=kind, rows=rows, padded=path.suffix == ".npz")


def _kind(path: Path, names: Iterable[str]) -> Kind:
    """Return the kind that columns are of; `DataError` where they are not those of one kind."""
    given = set(names)
    if PAIR_ID not in given:
        raise DataError(f"{path}: has no {PAIR_ID}; name the pair that each row answers")
    known = {PAIR_ID, *(name for columns in COLUMNS.values() for name in columns)}
    if given - known:
        raise DataError(
            f"{path}: the column {min(given - known)!r} is not known; remove it, or name it one "
            f"of {', '.join(sorted(known))}"
        )
    kinds = [kind for kind, columns in COLUMNS.items() if given & set(columns)]
    if len(kinds) != 1:
        said = f"holds {' and '.join(kinds)}" if kinds else "holds no answers"
        choice = " or ".join(" and ".join(columns) for columns in COLUMNS.values())
        raise DataError(f"{path}: {said}; give {choice}")
    lacking = set(COLUMNS[kinds[0]]) - given
    if lacking:
        raise DataError(f"{path}: {min(lacking)} is missing beside {min(given - {PAIR_ID})}")
    return kinds[0]


def _of_records(
    path: Path, records: Iterable[Mapping[str, Any]], faults: Faults
) -> tuple[Kind, list[Row]]:
    kind, rows, before = None, list[Row](), None
    for record in records:
        if record.keys() != before:
            before, found = record.keys(), _kind(path, record)
            if kind not in (None, found):
                raise DataError(f"{path}: holds {kind} and {found}; give all pairs one kind")
            kind = found
        assert kind is not None
        pair = record[PAIR_ID]
        if not isinstance(pair, str):
            raise DataError(f"{path}: {PAIR_ID} is {pair!r}; give a text such as 'VIDEO#0'")
        values = tuple(_numbers(record[name], kind) for name in COLUMNS[kind])
        if any(value is None for value in values):
            shape = "[start, end, score]" if kind == "spans" else "one number a clip"
            faults.add(pair, f"{kind} that are no lists of numbers", f"give {shape}")
        rows.append((pair, tuple(value for value in values if value is not None)))
    if kind is None:
        raise DataError(f"{path}: is empty; give a row for each pair")
    return kind, rows


def _numbers(value: Any, kind: Kind) -> NDArray[np.float64] | None:
    """Return a value as (L,), or spans as (K, 3); None where it is no such list of numbers."""
    if not isinstance(value, list):
        return None
    if kind == "spans" and not value:
        return np.empty((0, 3))
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    wanted = array.shape[1:] == (3,) if kind == "spans" else array.ndim == 1
    return array.astype(np.float64) if wanted and array.dtype.kind in "iuf" else None


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise DataError(f"{path}:{number}: is no object; give a pair's columns")
                yield record
    except (ValueError, RecursionError) as error:  # of the text, or of JSON
        raise DataError(
            f"{path}: is no JSON, one object a line ({error}); write it again"
        ) from None


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024, use_threads=False):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise DataError(f"{path}: is no intact Parquet file ({said}); write it again") from None


def _npz(path: Path) -> tuple[Kind, list[Row]]:
    with open_arrays(path) as loaded:
        if isinstance(loaded, np.ndarray):
            raise DataError(f"{path}: is one array without a name; write it by numpy.savez")
        kind = _kind(path, loaded)
        arrays = {name: np.asarray(loaded[name]) for name in (PAIR_ID, *COLUMNS[kind])}
    ids = arrays.pop(PAIR_ID)
    if ids.dtype.kind != "U" or ids.ndim != 1:
        raise DataError(f"{path}: {PAIR_ID} is {ids.dtype} of {ids.shape}; give (N,) texts")
    wanted = "(N, K, 3)" if kind == "spans" else "(N, L)"
    for name, array in arrays.items():
        fits = array.ndim == 3 and array.shape[2] == 3 if kind == "spans" else array.ndim == 2
        if not fits or len(array) != len(ids) or array.dtype.kind not in "iuf":
            raise DataError(
                f"{path}: {name} is {array.dtype} of {array.shape}; give numbers {wanted}, N = "
                f"{len(ids)}"
            )
    rows = zip(*(array.astype(np.float64) for array in arrays.values()), strict=True)
    named = zip(ids.tolist(), rows, strict=True)
    if kind == "spans":  # rows of NaN fill up pairs with fewer spans
        return kind, [(pair, (_without_nan(spans),)) for pair, (spans,) in named]
    return kind, list(named)


def _without_nan(spans: NDArray[np.float64]) -> NDArray[np.float64]:
    kept: NDArray[np.float64] = spans[~np.isnan(spans).all(axis=1)]
    return kept
