"""The words that a published checkpoint knows, and queries in its ids.

Letters in shapes: B queries, M words (padded), C characters a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from refkd.config import Config
from refkd.data.batch import Batch
from refkd.data.pairs import Pairs
from refkd.data.words import CHARACTERS_PER_WORD, PADDING
from refkd.errors import CheckpointError
from refkd.evaluation.predictions import Change

Ids = NDArray[np.int64]


class Vocabulary(Config):
    """The words and characters of a checkpoint, in the order of its ids."""

    words: list[str]
    characters: list[str] = Field(default_factory=list)


def read_vocabulary(path: Path, *, first: int, **rows: int) -> Vocabulary:
    """Return a vocabulary whose words, and characters where they are asked for, have these `rows`.

    `first` is the id of the first word. `CheckpointError` where the file is none, or does not fit.
    """
    try:
        held = Vocabulary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise CheckpointError(
            f'{path}: is no vocabulary ({said}); write {{"words": […], "characters": […]}}, each '
            f"in the order of the checkpoint's ids from {first} on"
        ) from None
    for name, expected in rows.items():
        given: list[str] = getattr(held, name)
        if len(given) != expected or len(set(given)) != len(given):
            raise CheckpointError(
                f"{path}: {len(given)} {name}, {len(set(given))} of them different, but the "
                f"checkpoint has {expected}; give those that it was trained with"
            )
    return held


class Encoder(Protocol):
    """What turns queries into ids, such as `refkd.data.words.Words`."""

    def encode_batch(self, queries: Sequence[str]) -> tuple[Ids, Ids]:
        """Return word ids (B, M) and character ids (B, M, C)."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlainWords:
    """Words cut as a reference cuts them, without characters."""

    cut: Callable[[str], list[str]]
    ids: Mapping[str, int]
    unknown: int | None
    """Id of all other words; None leaves them out."""
    padding: int = PADDING
    length: int | None = None
    """M; None is the longest query's."""

    def encode_batch(self, queries: Sequence[str]) -> tuple[Ids, Ids]:
        """Return word ids (B, M), and character ids (B, M, C) of 0."""
        found = [[self.ids.get(word, self.unknown) for word in self.cut(q)] for q in queries]
        rows = [[one for one in row if one is not None][: self.length] for row in found]
        length = self.length or max(1, *map(len, rows))
        words = np.full((len(rows), length), self.padding, dtype=np.int64)
        for row, ids in zip(words, rows, strict=True):
            row[: len(ids)] = ids
        return words, np.zeros((*words.shape, CHARACTERS_PER_WORD), dtype=np.int64)


def in_words(words: Encoder, pairs: Pairs) -> Change:
    """Return what puts the queries of a batch of these pairs into the ids of a vocabulary."""

    def change(batch: Batch) -> Batch:
        queries = [pairs.queries[row] for row in batch.pairs.tolist()]
        found, characters = (
            torch.from_numpy(ids).to(batch.words.device) for ids in words.encode_batch(queries)
        )
        return replace(batch, words=found, characters=characters, text=None)

    return change
