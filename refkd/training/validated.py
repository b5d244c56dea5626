"""What validation found of every pair: kept for each epoch, so that runs compare pair by pair.

Letters in shapes: E epochs, N pairs of a role.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from refkd.data.dataset import Dataset
from refkd.data.roles import OpenRole
from refkd.errors import CheckpointError
from refkd.files import canonical_json, replaced, sha256_file

VALIDATED = "validation.safetensors"
VALIDATION_ROLES: tuple[OpenRole, ...] = ("val_id", "val_ood")
Tious = NDArray[np.float16]
ByRole = dict[str, Tious]


@dataclass(frozen=True, kw_only=True, slots=True)
class Validated:
    """What one epoch's validation found."""

    metrics: dict[str, float] = field(default_factory=dict)
    tiou: ByRole = field(default_factory=dict)
    """(N,) temporal IoU in [0, 1] of each pair, by role."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairHistory:
    """What all epochs of a run found of each validation pair."""

    pairs: str
    """Identity of the pairs and of their order; only equal ones are comparable row by row."""
    tiou: ByRole
    """(E, N) by role; a row is NaN where an earlier refkd trained the epoch and kept none."""

    def write(self, folder: Path) -> str:
        """Write the history beside a run; return the sha256, equal for equal content."""
        path = folder / VALIDATED
        with replaced(path) as temporary:
            save_file(self.tiou, temporary, metadata={"pairs": self.pairs})
        return sha256_file(path)


def read_history(folder: Path, *, sha256: str | None = None) -> PairHistory | None:
    """Return what was kept beside a run; None where nothing was.

    Raises `CheckpointError` where the file is damaged, or is not the one that has a hash.
    """
    path = folder / VALIDATED
    if not path.is_file():
        return None
    if sha256 not in (None, sha256_file(path)):
        raise CheckpointError(f"{path}: changed since it was written; restore it from a copy")
    try:
        with safe_open(path, framework="numpy") as file:
            tiou = {role: file.get_tensor(role) for role in file.keys()}  # noqa: SIM118
            return PairHistory(pairs=file.metadata()["pairs"], tiou=tiou)
    except (SafetensorError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); restore it from a copy") from None


def identity_of_pairs(dataset: Dataset) -> str:
    """Return what identifies the validation pairs of a dataset, in their order."""
    names = {role: dataset.role(role).pair_ids for role in VALIDATION_ROLES}
    return hashlib.sha256(canonical_json(names)).hexdigest()


def stacked(epochs: Sequence[Mapping[str, Tious]]) -> ByRole:
    """Return (E, N) by role from the (N,) of each epoch, NaN where an epoch has none.

    >>> rows = stacked([{}, {"val_id": np.array([0.5, 1.0], dtype=np.float16)}])
    >>> rows["val_id"].tolist()
    [[nan, nan], [0.5, 1.0]]
    """
    sizes = {role: len(values) for epoch in epochs for role, values in epoch.items()}
    return {
        role: np.stack(
            [epoch.get(role, np.full(size, np.nan, dtype=np.float16)) for epoch in epochs]
        )
        for role, size in sorted(sizes.items())
    }


def unstacked(tiou: Mapping[str, Tious], epoch: int) -> ByRole:
    """Return the (N,) of an epoch, counted from 1, by role; none where they are not known."""
    rows = {role: values[epoch - 1] for role, values in tiou.items()}
    return {role: row for role, row in rows.items() if not np.isnan(row).any()}
