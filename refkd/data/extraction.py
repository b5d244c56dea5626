"""How features were made of video files, as the file of features says it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from refkd.config import Config
from refkd.data.containers import open_hdf5
from refkd.errors import DataError

EXTRACTION = "refkd_extraction"
"""Attribute of the HDF5 file."""


class Extraction(Config):
    """What made the features of a file: enough to make those of another video.

    >>> print(Extraction(model="clip-vit-base-patch32", sha256="ab12" * 16, fps=1))
    clip-vit-base-patch32 (sha256 ab12ab12ab12), 1 row a second
    """

    model: str
    """Folder of the network, or its name on the Hugging Face hub."""
    sha256: str
    """Of its weights."""
    fps: float
    """Rows a second."""

    def __str__(self) -> str:
        rows = "row" if self.fps == 1 else "rows"
        return f"{self.model} (sha256 {self.sha256[:12]}), {self.fps:g} {rows} a second"


def extraction_of(path: Path) -> Extraction | None:
    """Return how the features of an HDF5 file were made; None where it does not say."""
    with open_hdf5(path) as file:
        held = file.attrs.get(EXTRACTION)
    if held is None:
        return None
    try:
        return Extraction.model_validate_json(held)
    except ValidationError as error:
        raise DataError(
            f"{path}: its attribute {EXTRACTION} is damaged ({error.errors()[0]['msg']}); extract "
            f"the features again"
        ) from None
