"""What a worker is told: plain data, so that nothing live or secret is ever pickled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.config import Config
from tune.spec.study_file import TEACHER_ROLES, Address, StudyFile
from tune.study.folders import trial_folder

if TYPE_CHECKING:
    from refkd.data.dataset import Dataset

CHECKPOINTS = "checkpoints"


class Job(Config):
    """The part of a study that is the same for all its workers; paths are absolute."""

    dataset: Path | Address
    fingerprint: str
    folder: Path
    """The study's folder: trials write below it."""
    teachers: dict[str, Path]
    """Folder of each teacher, by `id` and `ood`."""
    knowledge: Path
    """Folder of all knowledge."""
    teacher_epochs: int
    """Epochs of a teacher whose spec names none: those the study began with."""
    device: str
    study: StudyFile

    def place(self) -> dict[str, Any]:
        """Return where and how networks are trained, as both trainers are told."""
        resources = self.study.resources
        chosen = {"resident": resources.resident, "compiled": resources.compiled}
        return {"device": self.device, **chosen}

    def trial_folder(self, number: int) -> Path:
        """Return where a trial keeps its checkpoints and its student."""
        return trial_folder(self.folder, number)


def make_job(file: StudyFile, dataset: Dataset, *, teacher_epochs: int) -> Job:
    """Return what the workers of a study are told."""
    workspace = file.workspace.absolute()
    teachers = {
        role: workspace / "teachers" / config.address(dataset)
        for role in TEACHER_ROLES
        for config in [file.teacher_config(role, epochs=teacher_epochs)]
    }
    return Job(
        dataset=file.dataset if isinstance(file.dataset, str) else file.dataset.absolute(),
        fingerprint=dataset.fingerprint,
        folder=file.folder,
        teachers=teachers,
        knowledge=workspace / "knowledge",
        teacher_epochs=teacher_epochs,
        device="cuda" if file.resources.gpu > 0 else "cpu",
        study=file,
    )
