"""Where a study keeps what its trials make, and a workspace its teachers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refkd.data.dataset import Dataset
    from refkd.training.teacher import TeacherConfig


def trial_folder(study_folder: Path, number: int) -> Path:
    """Return a trial's folder: named by its number, as everywhere else."""
    return study_folder / "trials" / f"{number:04d}"


def finalist_folder(study_folder: Path, number: int, replicate: int) -> Path:
    """Return where a finalist's student of one seed lies."""
    return study_folder / "finalists" / f"{number:04d}" / f"seed-{replicate}"


def seed_folder(folder: Path, replicate: int) -> Path:
    """Return where a student of a trial lies: the first in the trial's folder itself."""
    return folder if replicate == 0 else folder / f"seed-{replicate}"


def teacher_folder(workspace: Path, config: TeacherConfig, dataset: Dataset) -> Path:
    """Return a teacher's folder, the same for all that need an equal one."""
    return workspace.absolute() / "teachers" / config.address(dataset)


def student_folders(study_folder: Path, number: int, seeds: int) -> list[Path]:
    """Return where the students of a trial lie, one a seed."""
    home = trial_folder(study_folder, number)
    return [seed_folder(home, replicate) for replicate in range(seeds)]
