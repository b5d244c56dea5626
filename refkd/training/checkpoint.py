"""Checkpoints: tensors as safetensors, the rest as JSON, and never half of one.

An epoch is two files. The tensors are written first, under a name that holds their sha256; the
JSON, which names that hash, is renamed into place last. So a checkpoint exists exactly when its
JSON does and the hash agrees, and never holds what two writers wrote.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, load_file, save, save_file
from torch import Tensor

from refkd.errors import CheckpointError, RefKDError
from refkd.files import replaced, sha256_file, write_json

KEPT = 2
WRITER = "writer"
"""Name of the file that says who writes into a folder."""
_NAME = re.compile(r"epoch-(\d{4,})\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state after `epoch` finished epochs."""

    epoch: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class SupersededError(RefKDError):
    """A writer was taken for dead and another has taken over its run."""


class CheckpointFolder:
    """The newest checkpoints of one training run, in a folder of their own.

    The one before the newest is kept too: where the newest turns out damaged, one epoch is lost
    instead of all. Whoever claims the folder is its only writer until somebody else does: a
    process that lives on where it was thought dead then stops instead of writing on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._claim: str | None = None

    def claim(self) -> None:
        """Become the writer of this folder, in the place of whoever was it before."""
        self._claim = secrets.token_hex(8)
        with replaced(self.path / WRITER) as temporary:
            temporary.write_text(self._claim, encoding="ascii")

    def check_claim(self) -> None:
        """Raise `SupersededError` where this writer has claimed the folder and lost it since."""
        if self._claim is None:
            return
        try:
            writer = (self.path / WRITER).read_text(encoding="ascii")
        except FileNotFoundError:
            writer = ""
        if writer != self._claim:
            raise SupersededError(
                f"{self.path}: another process goes on with this run, so this one stops"
            )

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint atomically, then drop all but the newest `KEPT`.

        Raises `SupersededError` where somebody else has claimed the folder since this writer did.
        """
        self.check_claim()
        content = save(_plain(checkpoint.tensors))
        digest = hashlib.sha256(content).hexdigest()
        with replaced(self._tensors(checkpoint.epoch, digest)) as temporary:
            temporary.write_bytes(content)
        facts = {"epoch": checkpoint.epoch, "sha256": digest, "facts": checkpoint.facts}
        write_json(self._record(checkpoint.epoch), facts)
        for epoch in self.epochs()[:-KEPT]:
            self.remove(epoch)

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
            self.remove(epoch)
        for tensors in self.path.glob("epoch-*.safetensors"):  # of a save that was cut off
            tensors.unlink(missing_ok=True)
        (self.path / WRITER).unlink(missing_ok=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def remove(self, epoch: int) -> None:
        """Remove the checkpoint of an epoch, whole or damaged."""
        # The JSON goes first: without it the tensors are no checkpoint.
        self._record(epoch).unlink(missing_ok=True)
        for tensors in self.path.glob(f"epoch-{epoch:04d}-*.safetensors"):
            tensors.unlink(missing_ok=True)

    def _load(self, epoch: int) -> Checkpoint | None:
        try:
            record = json.loads(self._record(epoch).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # removed meanwhile, or neither UTF-8 nor JSON
            return None
        if not isinstance(record, dict) or not {"facts", "sha256"} <= record.keys():
            return None
        try:
            content = self._tensors(epoch, str(record["sha256"])).read_bytes()
        except FileNotFoundError:  # removed meanwhile
            return None
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            return None
        return Checkpoint(epoch=epoch, tensors=load(content), facts=record["facts"])

    def _record(self, epoch: int) -> Path:
        return self.path / f"epoch-{epoch:04d}.json"

    def _tensors(self, epoch: int, digest: str) -> Path:
        return self.path / f"epoch-{epoch:04d}-{digest[:12]}.safetensors"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors as safetensors, atomically; return the sha256 of the file."""
    with replaced(path) as temporary:
        save_file(_plain(tensors), temporary)
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


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
