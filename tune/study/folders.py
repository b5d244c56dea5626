"""Where a study keeps what its trials make."""

from __future__ import annotations

from pathlib import Path


def trial_folder(study_folder: Path, number: int) -> Path:
    """Return a trial's folder: named by its number, as everywhere else."""
    return study_folder / "trials" / f"{number:04d}"


def seed_folder(folder: Path, replicate: int) -> Path:
    """Return where a student of a trial lies: the first in the trial's folder itself."""
    return folder if replicate == 0 else folder / f"seed-{replicate}"
