"""The files of a trained network that a user holds: what `export` writes and `Retriever` loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load_file, save_file

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.data.extraction import Extraction, TextExtraction
from refkd.data.grid import Resample
from refkd.data.joined import Norm
from refkd.errors import CheckpointError
from refkd.files import canonical_json, replaced, sha256_file, write_json
from refkd.models import BackboneConfig
from refkd.models.backbone import Backbone
from refkd.training.checkpoint import save_tensors

WEIGHTS, VECTORS, RECORD = "weights.safetensors", "words.safetensors", "retriever.json"


class FeaturePart(Config):
    """One of several sources of features whose rows stand side by side."""

    name: str
    norm: Norm
    extraction: Extraction | None = None


class TextInput(Config):
    """Features of the tokens of queries."""

    dim: int
    """d_t, the width of a token."""
    extraction: TextExtraction | None = None
    """What made them, where that is known."""


class RetrieverRecord(Config):
    """What stands beside the weights: enough to use them without the dataset."""

    backbone: BackboneConfig
    feature_dim: int
    max_clips: int
    resample: Resample = "shorten"
    parts: list[FeaturePart] = Field(default_factory=list)
    """The sources of the features, where there are several."""
    extraction: Extraction | None = None
    """How the only source was made of video files, where that is known."""
    words: list[str]
    characters: list[str]
    text: TextInput | None = None
    """What queries are given as, where not as words."""
    dataset: str
    """Name and fingerprint of the dataset it was trained on."""
    marks: list[str] = Field(default_factory=list)
    """Why its scores are not to be taken at its name: leakage, reconstructions."""
    sha256: dict[str, str]
    """Hash of each file beside this one, and under its own name of all that this one says."""


def export(
    backbone: Backbone,
    config: BackboneConfig,
    dataset: Dataset,
    folder: Path,
    *,
    marks: Sequence[str] = (),
) -> RetrieverRecord:
    """Write a network with the vocabulary of its dataset into a folder of its own.

    `marks` warn whoever loads it that its scores are not to be taken at its name.
    """
    hashes = {WEIGHTS: save_tensors(folder / WEIGHTS, backbone.state_dict())}
    with replaced(folder / VECTORS) as temporary:
        save_file({"vectors": dataset.words.vectors}, temporary)
    hashes[VECTORS] = sha256_file(folder / VECTORS)
    text = dataset.manifest.text
    record = RetrieverRecord(
        backbone=config,
        feature_dim=dataset.feature_dim,
        max_clips=dataset.max_clips,
        resample=dataset.manifest.resample,
        parts=[
            FeaturePart(name=part.name, norm=part.norm, extraction=part.extraction)
            for part in dataset.manifest.features.parts
        ],
        extraction=dataset.manifest.features.extraction,
        words=list(dataset.words.tokens),
        characters=list(dataset.words.characters),
        text=None if text is None else TextInput(dim=text.dim, extraction=text.extraction),
        dataset=f"{dataset.name} {dataset.fingerprint}",
        marks=list(marks),
        sha256=hashes,
    )
    record = record.model_copy(update={"sha256": {**hashes, RECORD: _digest(record)}})
    write_json(folder / RECORD, record.model_dump(mode="json"))
    return record


def check_export(folder: Path) -> None:
    """Compare all that `export` wrote with its hashes; `CheckpointError` where a byte differs."""
    record = read_record(folder)
    for name, expected in record.sha256.items():
        path = folder / name
        if name != RECORD and not (path.is_file() and sha256_file(path) == expected):
            raise CheckpointError(f"{path}: missing or changed since it was written")


def read_record(folder: Path) -> RetrieverRecord:
    """Return what stands beside the weights; `CheckpointError` where it is missing or changed."""
    path = folder / RECORD
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a folder that holds a retriever")
    try:
        record = RetrieverRecord.model_validate(json.loads(path.read_bytes()))
    except ValueError as error:  # of the bytes, the JSON or its fields
        raise CheckpointError(f"{path}: not a retriever's record: {error}") from error
    if record.sha256.get(RECORD) != _digest(record):
        raise CheckpointError(f"{path}: changed since it was written; export the retriever again")
    return record


def _digest(record: RetrieverRecord) -> str:
    """Return the hash of all that a record says but its own hash."""
    content = record.model_dump(mode="json")
    content["sha256"].pop(RECORD, None)
    for name in ("marks", "resample", "parts", "extraction", "text"):
        if content[name] in ([], "shorten", None):  # which earlier retrievers do not have
            del content[name]
    return hashlib.sha256(canonical_json(content)).hexdigest()


def read_vectors(folder: Path, record: RetrieverRecord) -> NDArray[np.float32]:
    """Return the vectors (W, d_w) of the words; `CheckpointError` where they were changed."""
    path = folder / VECTORS
    if not path.is_file() or sha256_file(path) != record.sha256[VECTORS]:
        raise CheckpointError(
            f"{path}: missing or changed since it was written; export the retriever again"
        )
    vectors: NDArray[np.float32] = load_file(path)["vectors"]
    return vectors
