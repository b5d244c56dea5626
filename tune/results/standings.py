"""How sure the choice of each champion is, from what validation kept of every pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.evaluation.standing import Means, Standing, harmonic, resampled, standing
from refkd.training.export import open_student
from refkd.training.validated import VALIDATION_ROLES, identity_of_pairs, read_history

Kept = dict[int, dict[str, NDArray[np.float64]]]
"""Percent of each pair, (N,), by seed and role."""


def standings(
    dataset: Dataset,
    folders: Mapping[int, Sequence[Path]],
    champions: Mapping[str, tuple[str, int]],
    *,
    costs: Mapping[int, float],
    seed: int,
) -> dict[str, Standing]:
    """Return how each champion stands among some trials, by alias.

    `folders` are of the trials' students, `champions` metric and trial by alias, `costs` the CPU
    seconds of the trials; `seed` draws the resamples. Nothing is returned where a student kept
    nothing of each pair, or kept it of others: probabilities among some of the trials mislead.
    """
    pairs, numbers = identity_of_pairs(dataset), sorted(folders)
    try:
        kept = [_of_trial(folders[number], pairs) for number in numbers]
    except CheckpointError:  # `refkd doctor` says what is wrong with it
        return {}
    means = dict[str, Means]()
    for role in VALIDATION_ROLES:
        systems = [{name: roles[role] for name, roles in one.items()} for one in kept]
        videos = np.asarray(dataset.role(role).video_ids)
        means[f"{role}/miou"] = resampled(systems, videos, seed=seed)
    means["val/harmonic_miou"] = harmonic(*means.values())
    return {
        alias: standing(
            means[metric],
            numbers,
            costs=[costs[number] for number in numbers],
            best=number,
            seeds=len(folders[number]),
        )
        for alias, (metric, number) in champions.items()
    }


def _of_trial(folders: Sequence[Path], pairs: str) -> Kept:
    """Return what the kept weights of a trial's students scored on each pair."""
    found: Kept = {}
    for folder in folders:
        record = open_student(folder).record
        history = read_history(folder, sha256=record.validation)
        if record.validation is None or history is None or history.pairs != pairs:
            raise CheckpointError(f"{folder}: nothing of these pairs was kept")
        rows = {role: rows[record.epoch - 1] for role, rows in history.tiou.items()}
        if any(np.isnan(row).any() for row in rows.values()):
            raise CheckpointError(f"{folder}: nothing of the kept epoch's pairs was kept")
        found[record.config.seed] = {n: 100 * row.astype(np.float64) for n, row in rows.items()}
    return found
