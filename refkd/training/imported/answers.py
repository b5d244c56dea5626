"""Somebody else's answers to the pairs of a dataset, as start and end logits.

Letters in shapes: N pairs, L clips (padded), K spans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refkd.data.dataset import Dataset
from refkd.data.grid import clean, time_to_index
from refkd.data.pairs import Pairs
from refkd.data.roles import OPEN_ROLES
from refkd.errors import DataError
from refkd.models.backbone import NEGATIVE
from refkd.training.imported.answer_file import (
    AnswerFile,
    Faults,
    Kind,
    first_three,
    read_answer_file,
)

SPAN_FLOOR = 0.01
"""Share of a distribution made of spans that all clips of the video have alike."""
LEAST = 1e-12
"""What a probability of 0 counts as, so that its logarithm is finite."""
TOLERANCE = 0.01
"""How far probabilities may add up to more or less than 1: they are written with few digits."""
SLACK = 0.01
"""Seconds that a span may reach out of its video: times are written with few digits."""
LARGEST = 1e6
"""Size of a logit beyond which it marks something, such as a clip that is left out."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Logits of the first and the last clip for every pair that a search may read."""

    kind: Kind
    logits: dict[str, NDArray[np.float32]]
    """(N, 2, L) of `fit`, `val_id` and `val_ood`, padded with `NEGATIVE`, in the roles' order."""


def read_answers(path: Path, dataset: Dataset) -> Answers:
    """Return the answers of a file to the pairs of a dataset.

    Raises `DataError` with the first three pairs where it has too few or too many, pairs of the
    test roles among them, or what it says of one cannot be.
    """
    file = read_answer_file(path)
    roles: dict[str, Pairs] = {role: dataset.role(role) for role in OPEN_ROLES}
    _check_pairs(path, [pair for pair, _ in file.rows], roles)
    place = {pair: (role, n) for role, p in roles.items() for n, pair in enumerate(p.pair_ids)}
    logits: dict[str, NDArray[np.float32]] = {
        role: np.full((len(pairs), 2, int(pairs.clips.max())), NEGATIVE, dtype=np.float32)
        for role, pairs in roles.items()
    }
    faults = Faults(path)
    softmax = file.kind == "spans" and any((s[:, 2] < 0).any() for _, (s,) in file.rows)
    for pair, values in file.rows:
        role, row = place[pair]
        try:
            both = _logits(file, values, roles[role], row, softmax=softmax)
        except _RowError as error:
            faults.add(pair, *error.args)
        else:
            logits[role][row, :, : both.shape[1]] = both
    faults.check()
    return Answers(kind=file.kind, logits=logits)


def _check_pairs(path: Path, given: list[str], roles: Mapping[str, Pairs]) -> None:
    """Raise `DataError` unless each pair of the roles, and no other, stands there once."""
    twice = [pair for pair, times in Counter(given).items() if times > 1]
    if twice:
        raise DataError(f"{path}: answered more than once: {first_three(twice)}; keep one each")
    known = {pair for pairs in roles.values() for pair in pairs.pair_ids}
    if unknown := [pair for pair in given if pair not in known]:
        raise DataError(
            f"{path}: in none of {', '.join(roles)}: {first_three(unknown)}; remove them (test "
            "roles are sealed, no answer to them may be there), or take the dataset they are of"
        )
    answered = set(given)
    for role, pairs in roles.items():
        if missing := [pair for pair in pairs.pair_ids if pair not in answered]:
            raise DataError(
                f"{path}: no answer to {first_three(missing)} of {role}; answer every pair of "
                f"{', '.join(roles)}"
            )


class _RowError(Exception):
    """What is wrong with the answer to a pair, and how it is mended."""


def _logits(
    file: AnswerFile,
    values: tuple[NDArray[np.float64], ...],
    pairs: Pairs,
    row: int,
    *,
    softmax: bool,
) -> NDArray[np.float64]:
    """Return a pair's (2, L) logits, L the clips of its video."""
    clips = int(pairs.clips[row])
    if file.kind == "spans":
        duration = float(pairs.duration[row])
        weights = _weights(values[0], duration, softmax=softmax)
        distributions = span_distributions(values[0][:, :2], weights, clips, duration)
        return np.asarray(np.log(distributions))
    cut = [value[:clips] if file.padded else value for value in values]
    if any(len(value) != clips for value in cut):
        what = "lists of another length than their video has clips"
        raise _RowError(what, "give a number for each of `clips` in moments.parquet")
    both = np.stack(cut)
    if not np.isfinite(both).all():
        raise _RowError(f"{file.kind} of NaN or infinity", "give finite numbers")
    if file.kind == "logits":
        if np.abs(both).max() > LARGEST:
            raise _RowError(f"logits beyond ±{LARGEST:g}", "leave no clip of the video out")
        return both
    if (both < 0).any():
        raise _RowError("negative probabilities", "give start and end if they are logits")
    if (np.abs(both.sum(axis=1) - 1) > TOLERANCE).any():
        raise _RowError("probabilities that do not add up to 1", "normalise them over the clips")
    return np.asarray(np.log(np.maximum(both, LEAST)))


def _weights(spans: NDArray[np.float64], duration: float, *, softmax: bool) -> NDArray[np.float64]:
    """Return the (K,) weights of a pair's spans (K, 3), which add up to 1."""
    if not len(spans):
        raise _RowError("no span", "give at least one")
    if not np.isfinite(spans).all():
        raise _RowError("spans of NaN or infinity", "give finite numbers")
    if (spans[:, 0] < -SLACK).any() or (spans[:, :2] > duration + SLACK).any():
        raise _RowError("spans outside the video", "give seconds from its start")
    start, end = clean(spans[:, :2], np.full(len(spans), duration)).T
    if (start >= end).any():
        raise _RowError("spans that end before they begin, or at once", "give [start, end, score]")
    score = spans[:, 2]
    weights = np.array(np.exp(score - score.max()) if softmax else score, dtype=np.float64)
    if weights.sum() <= 0:
        raise _RowError("scores that are all 0", "give the better spans more")
    weights /= weights.sum()
    return weights


def span_distributions(
    spans: NDArray[np.float64], weights: NDArray[np.float64], clips: int, duration: float
) -> NDArray[np.float64]:
    """Return start and end distributions (2, L) over a video's clips from spans (K, 2) in seconds.

    Each span puts its weight (K,) on the clip in which it starts and on the one in which it ends,
    by the rule that makes labels of moments (`refkd.data.grid.time_to_index`); then all clips
    share `SPAN_FLOOR`.

    >>> span_distributions(np.array([[2.0, 6.0]]), np.array([1.0]), 4, 8.0).round(4).tolist()
    [[0.0025, 0.9925, 0.0025, 0.0025], [0.0025, 0.0025, 0.9925, 0.0025]]
    """
    number = len(spans)
    indices = time_to_index(spans, np.full(number, clips), np.full(number, duration))
    both = [np.bincount(edge, weights=weights, minlength=clips) for edge in indices.T]
    return np.asarray((1 - SPAN_FLOOR) * np.stack(both) + SPAN_FLOOR / clips)
