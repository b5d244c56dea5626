"""What is left of a student: its backbone's weights, their record, and what it validated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.files import sha256_file, write_json
from refkd.models import build_backbone
from refkd.models.backbone import Backbone
from refkd.training.checkpoint import load_tensors, save_tensors
from refkd.training.student import StudentConfig
from refkd.training.trainer import Trainer
from refkd.training.validated import PairHistory, identity_of_pairs

WEIGHTS = "student.safetensors"
RECORD = "student.json"


class StudentRecord(Config):
    """What stands beside a student's weights, as JSON."""

    config: StudentConfig
    dataset: str
    """Fingerprint of the dataset it was trained on."""
    epoch: int
    """The epoch that was kept, counted from 1."""
    metrics: dict[str, float]
    """Validation scores of that epoch."""
    leakage: bool = False
    """Whether a teacher learnt of pairs that the student is judged by."""
    sha256: str
    """Of the weights' file."""
    validation: str | None = None
    """Sha256 of what its epochs found of each pair; None where an earlier refkd kept none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenStudent:
    """A trained student on disk, without its side branches."""

    folder: Path
    record: StudentRecord

    @property
    def seed(self) -> int:
        """The seed it was trained from."""
        return self.record.config.seed

    @property
    def leaks(self) -> bool:
        """Whether its scores are worth nothing but as a diagnostic."""
        return self.record.leakage

    def backbone(self, dataset: Dataset) -> Backbone:
        """Return the network with its weights, in evaluation mode and without gradients."""
        network = self.record.config.backbone
        backbone = build_backbone(network, dataset.model_inputs(), seed=0)
        backbone.load_state_dict(load_tensors(self.folder / WEIGHTS, sha256=self.record.sha256))
        return backbone.eval().requires_grad_(False)


def freeze_student(
    trainer: Trainer, config: StudentConfig, dataset: Dataset, folder: Path
) -> FrozenStudent:
    """Write the weights that training kept and what it validated; the record comes last."""
    kept, validated = trainer.kept_result(), keep_history(trainer, dataset, folder)
    record = StudentRecord(
        config=config,
        dataset=dataset.fingerprint,
        epoch=kept.epoch,
        metrics=kept.metrics,
        leakage=trainer.task.leaks,
        sha256=save_tensors(folder / WEIGHTS, trainer.kept_weights()),
        validation=validated,
    )
    write_json(folder / RECORD, record.model_dump(mode="json"))
    return FrozenStudent(folder=folder, record=record)


def keep_history(trainer: Trainer, dataset: Dataset, folder: Path) -> str:
    """Write what all epochs so far found of each validation pair; return the file's sha256."""
    return PairHistory(pairs=identity_of_pairs(dataset), tiou=trainer.tiou()).write(folder)


def student_is_frozen(folder: Path) -> bool:
    """Return whether a folder holds a finished student."""
    return (folder / RECORD).is_file()


def record_hash(folder: Path) -> str:
    """Return the sha256 of a finished student's record, which holds that of its weights."""
    return sha256_file(folder / RECORD)


def open_student(folder: Path) -> FrozenStudent:
    """Return the student in a folder; `CheckpointError` where there is none."""
    path = folder / RECORD
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no finished student; was the trial completed?")
    try:
        record = StudentRecord.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise CheckpointError(f"{path}: not a student's record: {error}") from error
    return FrozenStudent(folder=folder, record=record)
