"""Files of answers that are no teacher: one line each, with the first three wrong pairs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.answers import Rows, as_probabilities, drawn_rows, one_span_each, padded, write

from refkd.data.dataset import Dataset
from refkd.errors import DataError
from refkd.training.imported.answers import read_answers


@pytest.fixture(scope="module")
def rows(tiny_dataset: Dataset) -> Rows:
    return drawn_rows(tiny_dataset)


Change = Callable[[Rows], Rows]
WRONG: list[tuple[str, Change, str]] = [
    (
        "missing pairs",
        lambda r: [*r[2:3], *r[5:]],
        "no answer to {four} of fit; answer every pair",
    ),
    ("a role left out", lambda r: r[:90], "no answer to .* of val_"),
    (
        "unknown pairs",
        lambda r: [*r, *({**r[0], "pair_id": f"x#{n}"} for n in range(4))],
        "in none of fit, val_id, val_ood: 4 pairs, x#0, x#1, x#2 first; remove them",
    ),
    ("pairs twice", lambda r: [*r, *r[:2], *r[3:5]], "answered more than once: {four}"),
    ("id of number", lambda r: [{**r[0], "pair_id": 3}], "pair_id is 3; give a text"),
    ("no id", lambda r: [{"start": r[0]["start"], "end": r[0]["end"]}], "has no pair_id"),
    ("unknown column", lambda r: [{**r[0], "score": 1.0}], "column 'score' is not known"),
    ("no end", lambda r: without(r, "end"), "end is missing beside start"),
    ("no start", lambda r: without(r, "start"), "start is missing beside end"),
    ("no answers", lambda r: without(without(r, "start"), "end"), "holds no answers; give start"),
    (
        "two kinds",
        lambda r: [{**r[0], "spans": [[0.0, 1.0, 1.0]]}],
        "holds logits and spans; give",
    ),
    (
        "kind by row",
        lambda r: [*r[:3], *as_probabilities(r[3:])],
        "holds logits and probabilities",
    ),
    ("no rows", lambda _: [], "is empty; give a row"),
]


def without(rows: Rows, name: str) -> Rows:
    return [{key: value for key, value in row.items() if key != name} for row in rows]


@pytest.mark.parametrize(
    ("change", "message"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG]
)
def test_a_wrong_file_is_one_line(
    change: Change, message: str, rows: Rows, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    refused(tmp_path / "answers.jsonl", change(rows), message, rows, tiny_dataset)


def refused(path: Path, wrong: Rows, message: str, rows: Rows, dataset: Dataset) -> None:
    """Expect one line that names the file, and of four pairs the first three."""
    four = f"4 pairs, {', '.join(rows[n]['pair_id'] for n in (0, 1, 3))} first"
    with pytest.raises(DataError, match=message.format(four=four)) as caught:
        read_answers(write(path, wrong), dataset)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


NAN, INF = float("nan"), float("inf")
WRONG_PAIRS: list[tuple[str, str, Callable[[list[Any]], Any], str]] = [
    ("logits", "start", lambda held: held[:-1], "lists of another length"),
    ("logits", "end", lambda held: [*held, 0.0], "lists of another length"),
    ("logits", "end", lambda _: [], "lists of another length"),
    ("logits", "start", lambda held: [NAN, *held[1:]], "logits of NaN or infinity"),
    ("logits", "end", lambda held: [-INF, *held[1:]], "logits of NaN or infinity"),
    ("logits", "end", lambda held: [-1e30, *held[1:]], "logits beyond .1e.06"),
    ("logits", "end", lambda held: ["0.1", *held[1:]], "logits that are no lists of numbers"),
    ("logits", "end", lambda held: [None, *held[1:]], "logits that are no lists of numbers"),
    ("logits", "end", lambda held: [10**400, *held[1:]], "logits that are no lists of numbers"),
    ("logits", "end", lambda _: 3.0, "logits that are no lists of numbers"),
    ("logits", "end", lambda held: [held], "logits that are no lists of numbers"),
    ("logits", "end", lambda held: [held, 1.0], "logits that are no lists of numbers"),
    ("probabilities", "start_prob", lambda held: [-0.5, *held[1:]], "negative probabilities"),
    ("probabilities", "end_prob", lambda held: [3.0, *held[1:]], "do not add up to 1"),
    ("probabilities", "end_prob", lambda held: [0.0] * len(held), "do not add up to 1"),
    ("probabilities", "end_prob", lambda held: [NAN, *held[1:]], "probabilities of NaN or inf.*"),
    ("spans", "spans", lambda _: [], "no span"),
    ("spans", "spans", lambda _: [[0.0, 1.0]], "spans that are no lists of numbers"),
    ("spans", "spans", lambda _: [[1.0, 0.5, 1.0]], "spans that end before they begin.*"),
    ("spans", "spans", lambda _: [[1.0, 1.0, 1.0]], "spans that end before they begin.*"),
    ("spans", "spans", lambda _: [[-1.0, 1.0, 1.0]], "spans outside the video"),
    ("spans", "spans", lambda _: [[1.0, 1e4, 1.0]], "spans outside the video"),
    ("spans", "spans", lambda _: [[1e4, 2e4, 1.0]], "spans outside the video"),
    ("spans", "spans", lambda _: [[0.0, NAN, 1.0]], "spans of NaN or infinity"),
    ("spans", "spans", lambda _: [[0.0, 1.0, INF]], "spans of NaN or infinity"),
    ("spans", "spans", lambda _: [[0.0, 1.0, 0.0]], "scores that are all 0"),
]


@pytest.mark.parametrize(("kind", "name", "change", "message"), WRONG_PAIRS)
def test_wrong_answers_to_pairs_are_one_line(
    kind: str,
    name: str,
    change: Callable[[list[Any]], Any],
    message: str,
    rows: Rows,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    made = {"logits": rows, "probabilities": as_probabilities(rows)}
    right = made.get(kind) or one_span_each(tiny_dataset)
    wrong = [
        {**row, name: change(row[name])} if n in (0, 1, 3, 4) else row
        for n, row in enumerate(right)
    ]
    refused(tmp_path / "a.jsonl", wrong, f"{message}.*: {{four}}", rows, tiny_dataset)


def test_a_pair_of_a_test_role_is_refused_and_nothing_sealed_is_opened(
    rows: Rows, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    sealed = pq.read_table(tiny_dataset.path / "sealed" / "moments.parquet")["pair_id"].to_pylist()
    path = write(tmp_path / "a.jsonl", [*rows, {**rows[0], "pair_id": sealed[0]}])
    with pytest.raises(DataError, match=f"{sealed[0]}; remove them .test roles are sealed"):
        read_answers(path, tiny_dataset)


def array(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda held: {**held, name: change(held[name])}


WRONG_ARRAYS: list[tuple[str, Callable[[dict[str, Any]], dict[str, Any]], str]] = [
    ("narrow", array("start", lambda a: a[:, :3]), "another length than"),
    ("hole", array("start", lambda a: a + np.where(np.arange(a.shape[1]) == 1, NAN, 0)), "of NaN"),
    ("flat", array("end", np.ravel), "end is float64 of .*; give numbers .N, L."),
    ("fewer rows", array("end", lambda a: a[1:]), "give numbers .N, L., N = "),
    ("texts", array("end", lambda a: a.astype("U8")), "give numbers .N, L."),
    ("ids of numbers", array("pair_id", lambda a: np.arange(len(a))), "pair_id is int64"),
    ("pickled", array("pair_id", lambda a: a.astype(object)), "cannot be read .* pickled"),
    ("unknown", lambda held: {**held, "query": held["pair_id"]}, "column 'query' is not known"),
    ("two kinds", lambda held: {**held, "spans": held["start"]}, "holds logits and spans"),
]


@pytest.mark.parametrize(
    ("change", "message"), [row[1:] for row in WRONG_ARRAYS], ids=[row[0] for row in WRONG_ARRAYS]
)
def test_wrong_arrays_are_one_line(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    message: str,
    rows: Rows,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    held = {
        "pair_id": np.array([row["pair_id"] for row in rows]),
        **{name: padded([row[name] for row in rows]) for name in ("start", "end")},
    }
    path = tmp_path / "answers.npz"
    np.savez(path, **change(held))
    with pytest.raises(DataError, match=message) as caught:
        read_answers(path, tiny_dataset)
    assert "\n" not in str(caught.value)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FILES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a.csv", lambda path: path.write_text("pair_id"), "is no .jsonl, .parquet, .npz file"),
    ("a.jsonl", lambda path: None, "is missing; give the file"),
    ("a.jsonl", lambda path: path.write_text('{"pair_id": '), "is no JSON, one object a line"),
    ("a.jsonl", lambda path: path.write_text("[1, 2]\n"), "a.jsonl:1: is no object"),
    ("a.jsonl", lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no JSON"),
    ("a.jsonl", lambda path: path.mkdir(), "is missing"),
    ("a.parquet", lambda path: path.write_text("PAR1"), "is no intact Parquet file"),
    ("a.parquet", lambda path: damaged(write(path, ROWS)), "is no intact Parquet file"),
    ("a.npz", lambda path: damaged(write(path, ROWS)), "cannot be read"),
    ("a.npz", lambda path: path.write_bytes(pickle.dumps(ROWS)), "cannot be read .* pickled"),
    ("a.npz", lambda path: np.save(path.open("wb"), np.zeros(3)), "one array without a name"),
]
ROWS = [{"pair_id": f"a#{n}", "start": [0.0] * 9, "end": [0.0] * 9} for n in range(99)]


@pytest.mark.parametrize(("name", "make", "message"), FILES)
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_a_file_that_cannot_be_read_is_one_line(
    name: str, make: Callable[[Path], Any], message: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        read_answers(tmp_path / name, tiny_dataset)
    assert "\n" not in str(caught.value)
