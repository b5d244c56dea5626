"""A teacher from elsewhere: its answers to every pair, and no network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.evaluation.predictions import Recorded
from refkd.files import canonical_json, sha256_file, write_json
from refkd.training.checkpoint import load_tensors, save_tensors
from refkd.training.imported.answer_file import Kind, require_answers
from refkd.training.imported.answers import read_answers
from refkd.training.validation import validate

RECORD = "teacher.json"
"""The file that stands in the folder of every teacher that is whole."""
ANSWERS = "answers.safetensors"
RULES = 1
"""Counts how often the rules have changed that make logits of a file."""


class Origin(Config):
    """The file that a teacher was imported from.

    >>> str(Origin(file="answers.jsonl", sha256="5e" * 32, kind="logits"))
    'imported from answers.jsonl (logits, sha256 5e5e5e5e5e5e5e5e)'
    """

    file: str
    """Its name, without its folder."""
    sha256: str
    kind: Kind

    def __str__(self) -> str:
        return f"imported from {self.file} ({self.kind}, sha256 {self.sha256[:16]})"


class ImportedRecord(Config):
    """What stands beside an imported teacher's answers, as JSON."""

    imported: Origin
    dataset: str
    """Fingerprint of the dataset whose pairs it answers."""
    metrics: dict[str, float]
    """Validation scores of its answers."""
    sha256: str
    """Of the file of its logits."""

    @property
    def epoch(self) -> int:
        """No epoch was kept."""
        return 0

    @property
    def history(self) -> list[dict[str, Any]]:
        """No epoch was trained here."""
        return []


@dataclass(frozen=True, kw_only=True)
class ImportedTeacher:
    """An imported teacher on disk."""

    folder: Path
    record: ImportedRecord

    @property
    def seed(self) -> int:
        """What stands for the seed that nobody here knows."""
        return 0

    @property
    def leaks(self) -> bool:
        """Whether it is known to have learnt of pairs that models are judged by."""
        return False

    @property
    def origin(self) -> Origin:
        """Where it comes from."""
        return self.record.imported

    @property
    def weights(self) -> Path:
        """The file of its logits."""
        return self.folder / ANSWERS

    @cached_property
    def digest(self) -> str:
        """Hash of its logits: what knowledge is filed under."""
        return hashlib.sha256(canonical_json([ANSWERS, self.record.sha256])).hexdigest()

    @cached_property
    def file_hash(self) -> str:
        """The sha256 of its record, which holds that of its logits."""
        return sha256_file(self.folder / RECORD)

    def backbone(self, dataset: Dataset) -> Recorded:
        """Return its answers, which stand where a network would; `dataset` is theirs."""
        held = load_tensors(self.weights, sha256=self.record.sha256)
        return Recorded({role: logits.numpy() for role, logits in held.items()}, str(self.origin))


def imported_address(path: Path, dataset: Dataset) -> str:
    """Return the folder name of the teacher that a file is to a dataset; `DataError` if gone."""
    require_answers(path)
    parts = {"dataset": dataset.fingerprint, "file": sha256_file(path), "rules": RULES}
    return hashlib.sha256(canonical_json(parts)).hexdigest()[:24]


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A file of answers that can be a teacher of a dataset."""

    origin: Origin
    dataset: Dataset
    metrics: dict[str, float]
    """What it scores on the validation roles."""
    logits: dict[str, NDArray[np.float32]]
    """(N, 2, L) by role."""

    def write(self, folder: Path) -> ImportedTeacher:
        """Write it as a teacher; its record comes last, so a folder with one is complete."""
        tensors = {role: torch.from_numpy(held) for role, held in self.logits.items()}
        record = ImportedRecord(
            imported=self.origin,
            dataset=self.dataset.fingerprint,
            metrics=self.metrics,
            sha256=save_tensors(folder / ANSWERS, tensors),
        )
        write_json(folder / RECORD, record.model_dump(mode="json"))
        return ImportedTeacher(folder=folder, record=record)


def examine_answers(path: Path, dataset: Dataset) -> Examined:
    """Read a file of answers and score it; `DataError` names what is wrong with it."""
    answers = read_answers(path, dataset)
    origin = Origin(file=path.name, sha256=sha256_file(path), kind=answers.kind)
    return Examined(
        origin=origin,
        dataset=dataset,
        metrics=validate(Recorded(answers.logits, str(origin)), dataset).metrics,
        logits=answers.logits,
    )
