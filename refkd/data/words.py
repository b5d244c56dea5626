"""Tokens and the vocabulary: from a sentence to word and character ids.

The vocabulary is built from the train split alone: its words that have a vector, by frequency.
Behind them stand the first `FURTHER_WORDS` other words of the vector file, so that a word train
never said keeps its (frozen, pre-trained) vector; nothing of a test split decides what is there.
Ids: 0 padding, 1 unknown, then words or characters. Letters in shapes: B queries, M words
(padded), C characters a word, W words with a vector.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    from refkd.data.vectors import WordVectors

CHARACTERS_PER_WORD = 16
"""C: a fixed width, so that a word's features do not depend on its neighbours."""
MAX_WORDS = 128
"""Words of a query at most; the rest is cut off."""
PADDING, UNKNOWN, FIRST = 0, 1, 2
MIN_CHARACTER_COUNT = 5
"""Times a character must be seen in train to have an id of its own (VSLNet)."""
FURTHER_WORDS = 10_000
"""Words beyond train's that keep their vector, in the order of the file (GloVe: by frequency)."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Words:
    """A vocabulary with frozen word vectors.

    >>> words = Words(["open", "door"], np.zeros((2, 4), np.float32), list("opend"))
    >>> ids, characters = words.encode_batch(["Open the door"])
    >>> ids.tolist(), characters.shape, characters[0, 1, :4].tolist()
    ([[2, 1, 3]], (1, 3, 16), [1, 1, 4, 0])
    """

    def __init__(
        self, tokens: Sequence[str], vectors: NDArray[np.float32], characters: Sequence[str]
    ) -> None:
        if len(tokens) != len(vectors):
            raise ValueError(f"{len(tokens)} words but {len(vectors)} vectors")
        self.tokens = tuple(tokens)
        self.vectors = vectors
        self.characters = tuple(characters)
        self._word_ids = {token: i for i, token in enumerate(self.tokens, start=FIRST)}
        self._character_ids = {c: i for i, c in enumerate(self.characters, start=FIRST)}

    @property
    def character_count(self) -> int:
        """Size of the character table, padding and unknown included."""
        return len(self.characters) + FIRST

    def unknown(self, query: str) -> list[str]:
        """Return the words of a query that have no vector: all of them look alike to a network.

        >>> Words(["door"], np.zeros((1, 4), np.float32), list("dor")).unknown("Open the door")
        ['open', 'the']
        """
        return [token for token in dict.fromkeys(tokenize(query)) if token not in self._word_ids]

    def encode_batch(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return word ids (B, M) and character ids (B, M, C), padded to the longest query."""
        tokens = [tokenize(query) for query in queries]
        longest = max((len(row) for row in tokens), default=1)
        words = np.zeros((len(tokens), longest), dtype=np.int64)
        characters = np.zeros((len(tokens), longest, CHARACTERS_PER_WORD), dtype=np.int64)
        for i, row in enumerate(tokens):
            words[i, : len(row)], characters[i, : len(row)] = self.encode_tokens(row)
        return words, characters

    def encode_tokens(self, tokens: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return word ids (n,) and character ids (n, C) of tokens."""
        words = np.array([self._word_ids.get(t, UNKNOWN) for t in tokens], dtype=np.int64)
        characters = np.zeros((len(tokens), CHARACTERS_PER_WORD), dtype=np.int64)
        for i, token in enumerate(tokens):
            spelt = [self._character_ids.get(c, UNKNOWN) for c in token[:CHARACTERS_PER_WORD]]
            characters[i, : len(spelt)] = spelt
        return words, characters


NO_WORDS = Words((), np.zeros((0, 0), dtype=np.float32), ())
"""The vocabulary where queries are given as features."""


def tokenize(query: str) -> list[str]:
    """Return the words of a query, lower-cased, at most `MAX_WORDS`.

    NLTK's Treebank rules, as `nltk.word_tokenize` applies them to each sentence; the sentences
    are split at `.`, `!`, `?` and a blank, since Punkt's model would have to be downloaded.

    >>> tokenize("  The man's dog runs.\\nIt barks!")
    ['the', 'man', "'s", 'dog', 'runs', '.', 'it', 'barks', '!']
    """
    return list(_tokens(query))


def query_key(query: str) -> str:
    """Return the name of a sentence: the sha256 of it with one blank between its words.

    >>> query_key(" the door  opens ") == query_key("the door opens")
    True
    """
    return hashlib.sha256(" ".join(query.split()).encode()).hexdigest()


@lru_cache(maxsize=1 << 17)
def _tokens(query: str) -> tuple[str, ...]:
    sentences = _SENTENCE_END.split(query.strip().lower())
    tokens = [token for sentence in sentences for token in _tokenizer().tokenize(sentence)]
    return tuple(tokens[:MAX_WORDS])


@cache
def _tokenizer() -> NLTKWordTokenizer:
    from nltk.tokenize.destructive import NLTKWordTokenizer  # slow to import

    return NLTKWordTokenizer()


def build_words(train: Iterable[Sequence[str]], vectors: WordVectors) -> Words:
    """Return the vocabulary of tokenised train queries over a file of word vectors."""
    counts = Counter(token for tokens in train for token in tokens)
    spelt: Counter[str] = Counter()
    for token, count in counts.items():
        for character in token:
            spelt[character] += count
    known = [token for token in _by_frequency(counts) if token in vectors.rows]
    further = [word for word in vectors.rows if word not in counts][:FURTHER_WORDS]
    tokens = known + further
    return Words(
        tokens=tokens,
        vectors=vectors.vectors[[vectors.rows[token] for token in tokens]],
        characters=[c for c in _by_frequency(spelt) if spelt[c] >= MIN_CHARACTER_COUNT],
    )


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda item: (-counts[item], item))
