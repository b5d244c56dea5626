"""Readers of pre-trained word vectors: the text format of GloVe and fastText, and `.npz`."""

from __future__ import annotations

import codecs
import gzip
import math
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refkd.data.containers import open_arrays
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


def read_vectors(
    path: Path,
    said: Collection[str] = (),
    *,
    further: int | None = None,
    progress: bool = False,
) -> WordVectors:
    """Read a file of word vectors, line by line: only what is kept takes memory.

    Kept are the words that are `said`, and the first `further` others of the file; None keeps
    all of them. The kinds of files are:

    - `.txt`, `.vec`, also packed as `.gz`: lines of a word and d numbers with blanks or tabs
      between them. Lines with another number of fields are left out, as VSLNet does, and so is
      the header line of word2vec and fastText.
    - `.npz`: `words` (W,) and `vectors` (W, d), and optionally `is_glove` (W,), false for rows
      that are no real vector: those words become unknown.

    `DataError` where the file is of none of these kinds, damaged, or a kept vector is not finite.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give word vectors as .txt, .vec, .gz or .npz")
    kept = _Kept(said, further)
    if path.suffix in (".txt", ".vec", ".gz"):
        _read_text(path, kept, progress)
    elif path.suffix == ".npz":
        _read_npz(path, kept)
    else:
        raise DataError(f"{path}: unknown kind {path.suffix!r}; give .txt, .vec, .gz or .npz")
    if not kept.rows:
        raise DataError(f"{path}: holds no word vectors; expected lines of a word and numbers")
    vectors = np.stack(kept.vectors)
    if not np.isfinite(vectors).all():
        bad = list(kept.rows)[int(np.argmin(np.isfinite(vectors).all(axis=1)))]
        raise DataError(f"{path}: the vector of {bad!r} is not finite; get the file again")
    return WordVectors(rows=kept.rows, vectors=vectors, source=path.name, sha256=sha256_file(path))


class _Kept:
    """The words that are kept of a file, each with its first vector."""

    def __init__(self, said: Collection[str], further: int | None) -> None:
        self._said = frozenset(said)
        self._left = math.inf if further is None else further
        self.rows: dict[str, int] = {}
        self.vectors: list[NDArray[np.float32]] = []

    def wants(self, word: str) -> bool:
        return word not in self.rows and (self._left > 0 or word in self._said)

    def add(self, word: str, vector: NDArray[np.float32]) -> None:
        self._left -= word not in self._said
        self.rows[word] = len(self.rows)
        self.vectors.append(vector)


def _read_text(path: Path, kept: _Kept, progress: bool) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    width, number = 0, 0
    try:
        with opened(path, "rb") as file:
            lines = tqdm(file, "words", unit="line", unit_scale=True, disable=not progress)
            for number, line in enumerate(lines, 1):
                plain = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).rstrip()
                fields = 1 + plain.count(b" ") + plain.count(b"\t")
                if width == 0 and fields > 2:  # a header line has two
                    width = fields
                if fields != width:
                    continue
                spelt, numbers = plain.split(None, 1)
                word = spelt.decode()
                if kept.wants(word):
                    kept.add(word, np.array(numbers.split(), dtype=np.float32))
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: line {number}: {error}; get the file again") from None


def _read_npz(path: Path, kept: _Kept) -> None:
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
    for row in np.flatnonzero(real):
        word = str(words[row])
        if kept.wants(word):
            kept.add(word, vectors[row].astype(np.float32))
