"""Features of queries in one HDF5 file, by the names of their sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from refkd.data.containers import HDF5_SUFFIXES
from refkd.data.extraction import TEXT_EXTRACTION, TextExtraction, text_extraction_of
from refkd.data.words import query_key
from refkd.errors import DataError
from refkd.files import replaced
from refkd.video.encoder import TextEncoder


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractedText:
    """What came of an extraction."""

    path: Path
    queries: int
    """Different sentences in the file."""
    made: int
    """Those of them that were not there before."""
    cut: int
    """Those of the new ones that have more tokens than are read."""


def extract_queries(
    queries: Iterable[str], model: str, out: Path, *, device: str = "cpu", progress: bool = True
) -> ExtractedText:
    """Write the features of every sentence to `out`, whole or not at all; what is there stays.

    `DataError` where the model cannot be used, or another one made what is there.
    """
    if out.suffix not in HDF5_SUFFIXES:
        raise DataError(f"{out}: name a file that ends in .h5 or .hdf5")
    sentences = {query_key(query): query for query in queries}
    encoder = TextEncoder(model, device=device)
    made_by = TextExtraction(model=str(model), sha256=encoder.sha256)
    if out.exists() and (held := text_extraction_of(out)) != made_by:
        raise DataError(
            f"{out}: exists, made by {held or 'something else'}; give another file, or remove it"
        )
    cut = 0
    with replaced(out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[TEXT_EXTRACTION] = made_by.model_dump_json()
        if out.exists():
            with h5py.File(out, "r") as before:
                for key in before:
                    before.copy(key, file)
        left = [key for key in sorted(sentences) if key not in file]
        for key in tqdm(left, desc="queries", unit="query", disable=not progress):
            rows, more = encoder(sentences[key])
            file[key] = rows.astype(np.float16)
            cut += more
        return ExtractedText(path=out, queries=len(file), made=len(left), cut=cut)
