"""The manifest of a prepared dataset: what it holds, what it was made of, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from refkd.config import Config
from refkd.data.extraction import Extraction, TextExtraction
from refkd.data.grid import Resample
from refkd.data.joined import Norm
from refkd.data.moments import Holdout
from refkd.data.roles import SEALED_ROLES
from refkd.data.splits import Carve
from refkd.errors import DataError
from refkd.files import canonical_json, sha256_file, write_json

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MOMENTS, FEATURES, WORDS, SEALED = "moments.parquet", "features.h5", "words.npz", "sealed"
TEXT = "text.h5"
"""Only where queries are given as features."""
OPEN_FILES = (MOMENTS, FEATURES, WORDS)
SEALED_FILES = (f"{SEALED}/{MOMENTS}", f"{SEALED}/{FEATURES}")


class Count(Config):
    """Pairs and videos, as annotated and as kept (with features)."""

    pairs: int
    videos: int
    annotated_pairs: int
    annotated_videos: int


class CarveFacts(Config):
    """The carve of `val_ood` from train: its constants and the videos it took."""

    constants: Carve
    videos: list[str]
    """Every carved video, with features or not, sorted."""
    sha256: str
    """Over the list of videos."""


class PartFacts(Config):
    """One of several sources of features."""

    name: str
    layout: str
    dim: int
    norm: Norm
    extractor: str | None
    rows_per_second: float
    """Median of rows / duration over the videos."""
    sha256: str
    """Over the arrays as read."""
    extraction: Extraction | None = None


class FeatureFacts(Config):
    """The identity of the features."""

    dim: int
    """V."""
    layout: str
    """How they were stored, such as `npy` or `hdf5`."""
    extractor: str | None
    """Network, weights (fine-tuned or not) and frame rate, in the user's words."""
    sha256: str
    """Over the packed clips, their videos and `dim`."""
    source_sha256: str
    """Over the arrays as read, before pooling and rounding."""
    rows_per_second: float
    """Median of rows / duration over the videos."""
    length_differences: int
    """Videos whose rows differ from duration · rows_per_second by over a second and over 5 %."""
    largest_difference: float
    """Of those rows, in seconds."""
    zero_videos: list[str] = Field(default_factory=list)
    """Videos whose features are all 0."""
    constant_videos: list[str] = Field(default_factory=list)
    """Other videos whose rows are all the same, or that have one row alone."""
    flat_columns: list[int] = Field(default_factory=list)
    """Columns that have the same value in all clips of all videos."""
    extraction: Extraction | None = None
    """How they were made of video files, where that is known."""
    parts: list[PartFacts] = Field(default_factory=list)
    """Where several are joined: whose columns stand side by side, in this order."""


class WordFacts(Config):
    """The identity of the vocabulary."""

    source: str
    sha256: str
    dim: int
    words: int
    train_words: int
    """Of `words`, those said in the split the vocabulary was counted on."""
    characters: int
    counted_on: str
    """The split whose queries were counted."""
    coverage: float
    """Share of that split's tokens that have a vector."""


class TextFacts(Config):
    """The identity of queries that are given as features of their tokens."""

    dim: int
    """d_t, the width of a token."""
    layout: str
    extraction: TextExtraction | None
    """What made them, where that is known."""
    queries: int
    """Different sentences."""
    tokens: int
    """Of the longest query."""
    cut: int
    """Queries that had more tokens than are kept."""
    sha256: str
    """Over the tokens as packed."""
    source_sha256: str
    """Over the arrays as read."""


class FileFacts(Config):
    """A file of the dataset."""

    bytes: int
    sha256: str


class Manifest(Config):
    """All that is known of a prepared dataset."""

    schema_version: int
    name: str
    max_clips: int
    resample: Resample = "shorten"
    """Which videos have `max_clips`: the longer ones, or all of them."""
    splits: dict[str, Count]
    roles: dict[str, Count]
    published_counts: bool
    """Whether every split has the published number of annotated pairs."""
    repairs: dict[str, dict[str, int]]
    """Of each split as annotated; each one is listed beside its pair in `moments.parquet`."""
    carve: CarveFacts | None
    features: FeatureFacts
    words: WordFacts | None
    """None where queries are given as features, `text`."""
    sources: dict[str, str]
    """sha256 of each annotation file."""
    simulation: dict[str, Any] | None
    """The settings of a simulated dataset."""
    files: dict[str, FileFacts]
    layout: str | None = None
    """How the annotation files were laid out, where the dataset is not called so."""
    holdout: Holdout | None = None
    """The train videos that are `val_id`, where there was no validation split."""
    shared_videos: dict[str, int] = Field(default_factory=dict)
    """Videos that stand in two splits, by both names."""
    unlabelled: dict[str, int] = Field(default_factory=dict)
    """Queries of test files without any moment, by file: they are left out."""
    several_windows: dict[str, int] = Field(default_factory=dict)
    """Annotated pairs with more than one window, by split."""
    text: TextFacts | None = None
    fingerprint: str = ""
    """sha256 over everything above, and so over the content of every file."""

    @property
    def open_files(self) -> tuple[str, ...]:
        """The files that a search reads."""
        return OPEN_FILES if self.text is None else (*OPEN_FILES, TEXT)

    @property
    def sealed_files(self) -> tuple[str, ...]:
        """The files of the test roles."""
        return SEALED_FILES if self.text is None else (*SEALED_FILES, f"{SEALED}/{TEXT}")

    @property
    def no_test(self) -> str:
        """Which test roles are not there, such as `no test_ood`; empty where both are."""
        absent = [f"no {role}" for role in SEALED_ROLES if role not in self.roles]
        return " and ".join(absent)


LATER = {
    *("resample", "layout", "holdout", "shared_videos", "unlabelled", "several_windows"),
    "text",
    *("zero_videos", "constant_videos", "flat_columns", "parts", "extraction"),
}
"""Facts that earlier manifests do not have: written only where there is something to say."""


def _facts(manifest: Manifest) -> dict[str, Any]:
    facts = manifest.model_dump(mode="json")
    for part in (facts, facts["features"]):
        for name in LATER & part.keys():
            if not part[name] or part[name] == "shorten":
                del part[name]
    return facts


def fingerprint_of(manifest: Manifest) -> str:
    """Return the sha256 over a manifest without its fingerprint."""
    facts = _facts(manifest)
    del facts["fingerprint"]
    return hashlib.sha256(canonical_json(facts)).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest with its fingerprint; return it."""
    signed = manifest.model_copy(update={"fingerprint": fingerprint_of(manifest)})
    write_json(folder / MANIFEST, _facts(signed))
    return signed


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest; `DataError` where it is absent, foreign or changed."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{folder}: not a prepared dataset ({MANIFEST} is missing); make one with "
            f"`refkd data prepare` or `refkd data simulate`"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{path}: schema version {version!r}, this refkd reads {SCHEMA_VERSION}; prepare "
                f"the dataset again"
            )
        manifest = Manifest.model_validate(content)
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: damaged ({first}); prepare the dataset again") from None
    if fingerprint_of(manifest) != manifest.fingerprint:
        raise DataError(
            f"{path}: changed since it was written (its fingerprint does not fit); prepare the "
            f"dataset again"
        )
    return manifest


def describe_file(path: Path) -> FileFacts:
    """Return size and hash of a file."""
    return FileFacts(bytes=path.stat().st_size, sha256=sha256_file(path))


def check_files(folder: Path, manifest: Manifest, names: tuple[str, ...], *, full: bool) -> None:
    """Compare files with the manifest by size, or with `full` by content."""
    for name in names:
        path, expected = folder / name, manifest.files.get(name)
        if expected is None or not path.is_file():
            raise DataError(f"{path}: missing; copy the folder again or prepare it again")
        size = path.stat().st_size
        if size != expected.bytes or (full and sha256_file(path) != expected.sha256):
            raise DataError(
                f"{path}: damaged ({size:,} bytes, {expected.bytes:,} expected"
                f"{', content differs' if size == expected.bytes else ''}); copy the folder "
                f"again or prepare it again"
            )
