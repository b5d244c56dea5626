"""Readers of pre-trained word vectors: GloVe's text format and `.npz`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refkd.data.features import open_arrays
from refkd.errors import DataError
from refkd.files import sha256_file


@dataclass(frozen=True, kw_only=True, slots=True)
class WordVectors:
    """Words with a vector each; `rows` keeps the order of the file (GloVe: by frequency)."""

    rows: Mapping[str, int]
    vectors: NDArray[np.float32]
    """(W, d_w)"""
    source: str
    """Name of the file."""
    sha256: str


def read_vectors(path: Path) -> WordVectors:
    """Read a `.txt` or `.npz` file of word vectors.

    `.txt`: lines of a word and d numbers, split on blanks; lines with another number of fields
    are left out, as VSLNet does. `.npz`: `words` (W,) and `vectors` (W, d), and optionally
    `is_glove` (W,), false for rows that are no real vector: those words become unknown.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give word vectors as .txt (GloVe) or .npz")
    if path.suffix == ".txt":
        words, vectors = _read_text(path)
    elif path.suffix == ".npz":
        words, vectors = _read_npz(path)
    else:
        raise DataError(f"{path}: unknown kind {path.suffix!r}; give a .txt or .npz file")
    if not np.isfinite(vectors).all():
        bad = words[int(np.argmin(np.isfinite(vectors).all(axis=1)))]
        raise DataError(f"{path}: the vector of {bad!r} is not finite; get the file again")
    rows = {word: row for row, word in reversed(list(enumerate(words)))}
    rows = {word: rows[word] for word in dict.fromkeys(words)}  # a doubled word: its first row
    return WordVectors(rows=rows, vectors=vectors, source=path.name, sha256=sha256_file(path))


def _read_text(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    width = 0
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                fields = line.rstrip().split(" ")
                if width == 0 and len(fields) > 2:  # word2vec's header line has two fields
                    width = len(fields)
                if len(fields) == width:
                    words.append(fields[0])
                    rows.append(np.array(fields[1:], dtype=np.float32))
    except ValueError as error:
        raise DataError(f"{path}: line {len(rows) + 1}: {error}; get the file again") from None
    if not rows:
        raise DataError(f"{path}: holds no word vectors; expected lines of a word and numbers")
    return words, np.stack(rows)


def _read_npz(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    try:
        with open_arrays(path) as arrays:
            words, vectors = arrays["words"], arrays["vectors"]
            real = arrays["is_glove"] if "is_glove" in arrays else np.ones(len(words), dtype=bool)
    except KeyError as error:
        raise DataError(f"{path}: {error}; expected the arrays `words` and `vectors`") from None
    if words.ndim != 1 or vectors.ndim != 2 or not len(words) == len(vectors) == len(real):
        raise DataError(
            f"{path}: words {words.shape}, vectors {vectors.shape}; expected (W,) and (W, d)"
        )
    keep = real.astype(bool)
    return [str(word) for word in words[keep]], vectors[keep].astype(np.float32)
