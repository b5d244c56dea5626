"""Checkpoints: tensors as safetensors, the rest as JSON, and never half of one.

An epoch is two files. The tensors are written first; the JSON, which holds their sha256, is
renamed into place last, so a checkpoint exists exactly when its JSON does and the hash agrees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from refkd.errors import CheckpointError
from refkd.files import replaced, sha256_file, write_json

KEPT = 2
_NAME = re.compile(r"epoch-(\d{4,})\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state after `epoch` finished epochs."""

    epoch: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class CheckpointFolder:
    """The newest checkpoints of one training run, in a folder of their own.

    The one before the newest is kept too: where the newest turns out damaged, one epoch is lost
    instead of all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint atomically, then drop all but the newest `KEPT`."""
        stem = f"epoch-{checkpoint.epoch:04d}"
        digest = save_tensors(self.path / f"{stem}.safetensors", checkpoint.tensors)
        facts = {"epoch": checkpoint.epoch, "sha256": digest, "facts": checkpoint.facts}
        write_json(self.path / f"{stem}.json", facts)
        for epoch in self.epochs()[:-KEPT]:
            self._remove(epoch)

    def epochs(self) -> list[int]:
        """Return the epochs that have a checkpoint, ascending; damaged ones included."""
        if not self.path.is_dir():
            return []
        names = (_NAME.fullmatch(file.name) for file in self.path.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint whose hash agrees; None where there is none."""
        for epoch in reversed(self.epochs()):
            checkpoint = self._load(epoch)
            if checkpoint is not None:
                return checkpoint
        return None

    def clear(self) -> None:
        """Remove every checkpoint, as a finished run needs none."""
        for epoch in self.epochs():
            self._remove(epoch)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def _load(self, epoch: int) -> Checkpoint | None:
        stem = f"epoch-{epoch:04d}"
        weights = self.path / f"{stem}.safetensors"
        try:
            record = json.loads((self.path / f"{stem}.json").read_text(encoding="utf-8"))
        except ValueError:  # neither UTF-8 nor JSON
            return None
        if not isinstance(record, dict) or "facts" not in record:
            return None
        if not weights.is_file() or sha256_file(weights) != record.get("sha256"):
            return None
        return Checkpoint(epoch=epoch, tensors=load_file(weights), facts=record["facts"])

    def _remove(self, epoch: int) -> None:
        # The JSON goes first: without it the tensors are no checkpoint.
        (self.path / f"epoch-{epoch:04d}.json").unlink(missing_ok=True)
        (self.path / f"epoch-{epoch:04d}.safetensors").unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors as safetensors, atomically; return the sha256 of the file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replaced(path) as temporary:
        save_file(plain, temporary)
        return sha256_file(temporary)


def load_tensors(path: Path, *, sha256: str) -> dict[str, Tensor]:
    """Read safetensors whose hash is known; `CheckpointError` where it does not agree."""
    if not path.is_file():
        raise CheckpointError(f"{path}: the weights are missing; train this model again")
    found = sha256_file(path)
    if found != sha256:
        raise CheckpointError(
            f"{path}: the weights changed since they were written (sha256 {found[:12]}…, expected "
            f"{sha256[:12]}…); restore the file or train this model again"
        )
    return load_file(path)
