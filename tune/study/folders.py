"""The folders of trials, finalists and teachers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refkd.data.dataset import Dataset
    from refkd.training.teacher import TeacherConfig


def trial_folder(study_folder: Path, number: int) -> Path:
    """Return the folder of a trial."""
    return study_folder / "trials" / f"{number:04d}"


def finalist_folder(study_folder: Path, number: int, replicate: int) -> Path:
    """Return the folder of a finalist's student of one seed."""
    return study_folder / "finalists" / f"{number:04d}" / f"seed-{replicate}"


def seed_folder(folder: Path, replicate: int) -> Path:
    """Return the folder of a student of a trial: for the first seed, the trial's own."""
    return folder if replicate == 0 else folder / f"seed-{replicate}"


def teacher_folder(workspace: Path, config: TeacherConfig, dataset: Dataset) -> Path:
    """Return a teacher's folder, the same for every study that needs an equal teacher."""
    return workspace.absolute() / "teachers" / config.address(dataset)


def student_folders(study_folder: Path, number: int, seeds: int) -> list[Path]:
    """Return the folders of a trial's students, one for each seed."""
    home = trial_folder(study_folder, number)
    return [seed_folder(home, replicate) for replicate in range(seeds)]


def finalist_folders(study_folder: Path, number: int, seeds: int) -> list[Path]:
    """Return the folders of a finalist's students, one for each fresh seed."""
    return [finalist_folder(study_folder, number, replicate) for replicate in range(seeds)]
