"""How features were made of video files or of queries, as the file of features says it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from refkd.config import Config
from refkd.data.containers import open_hdf5
from refkd.errors import DataError

EXTRACTION, TEXT_EXTRACTION = "refkd_extraction", "refkd_text_extraction"
"""Attributes of an HDF5 file, of videos and of queries."""


class TextExtraction(Config):
    """What made the features of queries: enough to make those of another one.

    >>> print(TextExtraction(model="clip-vit-base-patch32", sha256="ab12" * 16))
    clip-vit-base-patch32 (sha256 ab12ab12ab12)
    """

    model: str
    """Folder of the network, or its name on the Hugging Face hub."""
    sha256: str
    """Of its weights."""

    def __str__(self) -> str:
        return f"{self.model} (sha256 {self.sha256[:12]})"


class Extraction(TextExtraction):
    """What made the features of a file: enough to make those of another video.

    >>> print(Extraction(model="clip-vit-base-patch32", sha256="ab12" * 16, fps=1))
    clip-vit-base-patch32 (sha256 ab12ab12ab12), 1 row a second
    """

    fps: float
    """Rows a second."""

    def __str__(self) -> str:
        rows = "row" if self.fps == 1 else "rows"
        return f"{super().__str__()}, {self.fps:g} {rows} a second"


Made = TypeVar("Made", bound=TextExtraction)


def extraction_of(path: Path) -> Extraction | None:
    """Return how the features of an HDF5 file were made; None where it does not say."""
    return _held(path, EXTRACTION, Extraction)


def text_extraction_of(path: Path) -> TextExtraction | None:
    """Return the same of an HDF5 file of queries."""
    return _held(path, TEXT_EXTRACTION, TextExtraction)


def _held(path: Path, attribute: str, kind: type[Made]) -> Made | None:
    with open_hdf5(path) as file:
        held = file.attrs.get(attribute)
    if held is None:
        return None
    try:
        return kind.model_validate_json(held)
    except ValidationError as error:
        raise DataError(
            f"{path}: its attribute {attribute} is damaged ({error.errors()[0]['msg']}); extract "
            f"the features again"
        ) from None
