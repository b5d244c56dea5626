"""Tokens, the vocabulary and readers of word vectors."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkd.data import words as module
from refkd.data.vectors import WordVectors, read_vectors
from refkd.data.words import CHARACTERS_PER_WORD, MAX_WORDS, Words, build_words, tokenize
from refkd.errors import DataError


def vectors_of(*words: str) -> WordVectors:
    """Return vectors whose first number is the word's row."""
    table = np.zeros((len(words), 3), dtype=np.float32)
    table[:, 0] = np.arange(len(words))
    return WordVectors(
        rows={w: i for i, w in enumerate(words)}, vectors=table, source="v.txt", sha256=""
    )


@pytest.mark.parametrize(
    ("query", "tokens"),
    [
        ("  Person OPENS the door.\n", ["person", "opens", "the", "door", "."]),
        ("He runs. She doesn't!", ["he", "runs", ".", "she", "does", "n't", "!"]),
        ("a man's cup, a book", ["a", "man", "'s", "cup", ",", "a", "book"]),
        ("...", ["..."]),
    ],
)
def test_tokens(query: str, tokens: list[str]) -> None:
    assert tokenize(query) == tokens


def test_long_queries_are_cut() -> None:
    assert len(tokenize("word " * 500)) == MAX_WORDS


def test_the_vocabulary_is_trains_words_by_frequency_then_others_of_the_file() -> None:
    train = [["b", "a", "c"], ["a", "b"], ["d", "typo"]]
    words = build_words(train, vectors_of("x", "d", "c", "b", "a", "y"))
    assert words.tokens == ("a", "b", "c", "d", "x", "y")
    assert words.vectors[:, 0].tolist() == [4, 3, 2, 1, 0, 5]


def test_further_words_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FURTHER_WORDS", 1)
    assert build_words([["a"]], vectors_of("x", "a", "y")).tokens == ("a", "x")


def test_characters_need_five_uses_in_train() -> None:
    words = build_words([["abb"], ["abb"], ["abb"], ["ac"], ["a"]], vectors_of("abb"))
    assert words.characters == ("b", "a")


def test_encoding() -> None:
    words = Words(["open", "door"], np.zeros((2, 4), dtype=np.float32), list("opend"))
    ids, characters = words.encode_batch(["Open a door", "door"])
    assert ids.tolist() == [[2, 1, 3], [3, 0, 0]]
    assert characters.shape == (2, 3, CHARACTERS_PER_WORD)
    assert characters[0, 0, :5].tolist() == [2, 3, 4, 5, 0]
    assert characters[0, 1, :2].tolist() == [1, 0]
    assert not characters[1, 1:].any()
    assert words.character_count == 7


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_any_query_has_a_word_and_padding_does_not_change_it(queries: list[str]) -> None:
    words = Words(["a"], np.zeros((1, 2), dtype=np.float32), ["a"])
    together, letters = words.encode_batch(queries)
    for row, query in enumerate(queries):
        alone, spelt = words.encode_batch([query])
        length = alone.shape[1]
        assert length >= 1
        assert np.array_equal(together[row, :length], alone[0])
        assert np.array_equal(letters[row, :length], spelt[0])
        assert not together[row, length:].any()


def test_text_vectors_skip_lines_of_another_width(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2 3\n. . 4 5 6\ncat 7 8 9\nthe 0 0 0\n", encoding="utf-8")
    read = read_vectors(path)
    assert list(read.rows) == ["the", "cat"]
    assert read.vectors[[read.rows["the"], read.rows["cat"]]].tolist() == [[1, 2, 3], [7, 8, 9]]


def test_text_vectors_with_a_header_line(tmp_path: Path) -> None:
    path = tmp_path / "w2v.txt"
    path.write_text("2 3\nthe 1 2 3\ncat 7 8 9\n", encoding="utf-8")
    assert list(read_vectors(path).rows) == ["the", "cat"]


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(b"\xef\xbb\xbfthe 1 2\ncat 3 4\n")
    assert list(read_vectors(path).rows) == ["the", "cat"]


CONTENTS = "the 1 2 3\nof 4 5 6\ncat 7 8 9\ndog 0 0 1\ncat 5 5 5\n"


def written(path: Path, content: str) -> Path:
    """Write vectors as the kind of file that a name ends in."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    elif path.suffix == ".npz":
        lines = [line.split() for line in content.splitlines()]
        table = np.array([line[1:] for line in lines], dtype=np.float32)
        np.savez(path, words=np.array([line[0] for line in lines]), vectors=table)
    else:
        path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.txt", CONTENTS),
        ("v.txt", CONTENTS.replace("\n", "\r\n")),
        ("tabs.txt", CONTENTS.replace(" ", "\t")),
        ("tab_then_blanks.txt", CONTENTS.replace(" ", "\t", 1)),
        ("v.vec", "5 3\n" + CONTENTS.replace("\n", " \n")),
        ("v.txt.gz", CONTENTS),
        ("v.npz", CONTENTS),
    ],
)
def test_kept_are_the_words_said_and_the_first_others(
    tmp_path: Path, name: str, content: str
) -> None:
    path = written(tmp_path / name, content)
    read = read_vectors(path, ["cat", "absent"], further=1)
    assert list(read.rows) == ["the", "cat"]
    assert read.vectors.tolist() == [[1, 2, 3], [7, 8, 9]]
    assert list(read_vectors(path).rows) == ["the", "of", "cat", "dog"]


@given(st.sets(st.sampled_from("abcdefgh")), st.integers(1, 9))
def test_the_vocabulary_is_that_of_the_whole_file(said: set[str], further: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FURTHER_WORDS", further)
        path = written(
            Path(folder) / "v.txt", "".join(f"{w} {i} 0\n" for i, w in enumerate("hgfxyzabc"))
        )
        train = [sorted(said)]
        few = build_words(train, read_vectors(path, said, further=further))
        whole = build_words(train, read_vectors(path))
    assert few.tokens == whole.tokens
    assert np.array_equal(few.vectors, whole.vectors)


def test_npz_vectors_leave_out_rows_that_are_no_vector(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    real = np.array([True, False])
    np.savez(path, words=np.array(["cat", "ctaa"]), vectors=np.ones((2, 3)), is_glove=real)
    assert list(read_vectors(path).rows) == ["cat"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, "no such file"),
        ("v.bin", b"x", r"unknown kind '\.bin'"),
        ("empty.txt", b"", "holds no word vectors"),
        ("bad.txt", b"the 1 2 3\ncat 1 x 3\n", "line 2"),
        ("nan.txt", b"the 1 2 3\ncat 1 nan 3\n", "'cat' is not finite"),
        ("cut.npz", b"PK\x03\x04cut", "cut off"),
        ("cut.gz", gzip.compress(b"the 1 2 3\n" * 99, mtime=0)[:-20], "line "),
        ("plain.gz", b"the 1 2 3\n", "line 0: Not a gzipped file"),
        ("header.vec", b"2 3\n", "holds no word vectors"),
        ("latin.txt", b"d\xe9j 1 2\n", "line 1: 'utf-8' codec"),
    ],
)
def test_wrong_vector_files(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_vectors(path)
    assert str(path) in str(caught.value)


def test_pickled_and_misshapen_npz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, words=np.array(["a"], dtype=object), vectors=np.ones((1, 2)))
    with pytest.raises(DataError, match="plain arrays"):
        read_vectors(path)
    shapes = [((1,), (2, 2)), ((1, 1), (1, 2)), ((2,), (2,))]
    for words, vectors in shapes:
        np.savez(path, words=np.full(words, "a"), vectors=np.ones(vectors))
        with pytest.raises(DataError, match=r"expected \(W,\) and \(W, d\)"):
            read_vectors(path)
