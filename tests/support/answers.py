"""Files of answers, as somebody else's model would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from refkd.data.dataset import Dataset
from refkd.data.roles import OPEN_ROLES
from refkd.training.knowledge import teacher_logits
from refkd.training.teacher import Teacher

Rows = list[dict[str, Any]]


def rows_of(dataset: Dataset, logits: Mapping[str, Any]) -> Rows:
    """Return the rows of logits (N, 2, L) by role."""
    return [
        {"pair_id": pair, "start": both[0, :clips].tolist(), "end": both[1, :clips].tolist()}
        for role in OPEN_ROLES
        for pairs in [dataset.role(role)]
        for pair, clips, both in zip(pairs.pair_ids, pairs.clips, logits[role], strict=True)
    ]


def drawn_rows(dataset: Dataset, *, seed: int = 0) -> Rows:
    """Return rows of random logits."""
    draw = np.random.default_rng(seed)
    pairs = {role: dataset.role(role) for role in OPEN_ROLES}
    return rows_of(
        dataset,
        {
            r: draw.normal(size=(len(p), 2, p.clips.max())).astype(np.float32)
            for r, p in pairs.items()
        },
    )


def rows_of_teacher(teacher: Teacher, dataset: Dataset) -> Rows:
    """Return what a trained teacher says of every pair."""
    network = teacher.backbone(dataset)
    return rows_of(dataset, {r: teacher_logits(network, dataset.role(r)) for r in OPEN_ROLES})


def as_probabilities(rows: Rows) -> Rows:
    """Return rows of logits as probabilities."""
    return [
        {"pair_id": row["pair_id"], **{f"{e}_prob": softmax(row[e]) for e in ("start", "end")}}
        for row in rows
    ]


def softmax(logits: Sequence[float]) -> list[float]:
    scaled = np.exp(np.asarray(logits) - max(logits))
    return list((scaled / scaled.sum()).tolist())


def one_span_each(dataset: Dataset) -> Rows:
    """Return rows of one span a pair: its moment, as it stands in the labels."""
    return [
        {"pair_id": pair, "spans": [[first * step, (last + 1) * step, 1.0]]}
        for role in OPEN_ROLES
        for pairs in [dataset.role(role)]
        for pair, (first, last), step in zip(
            pairs.pair_ids,
            pairs.spans.tolist(),
            (pairs.duration / pairs.clips).tolist(),
            strict=True,
        )
    ]


def write(path: Path, rows: Rows) -> Path:
    """Write rows as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        names = list(rows[0])[1:]
        ids = np.array([row["pair_id"] for row in rows])
        np.savez(path, pair_id=ids, **{n: padded([row[n] for row in rows]) for n in names})
    return path


def padded(lists: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return lists as one array with NaN behind the end of each."""
    longest = max(map(len, lists))
    shape = np.shape(lists[0])[1:]
    array = np.full((len(lists), longest, *shape), np.nan)
    for row, held in zip(array, lists, strict=True):
        row[: len(held)] = held
    return array
