"""Asking a trained retriever where in a video moments lie, and showing its answers on a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refkd.config import Config
from refkd.data.containers import HDF5_SUFFIXES, SUFFIXES
from refkd.data.extraction import Extraction
from refkd.data.features import FeatureFile, Hdf5Features, checked_rows
from refkd.errors import DataError
from refkd.retriever import Retriever, Span
from refkd.urls import Url
from tune.inference.model import load_model


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The spans of one query, best first."""

    query: str
    spans: list[Span]
    unknown: list[str]
    """Words of the query that have no vector: all of them look alike to the network. Empty
    where queries are read as features."""


class Prediction(Config):
    """What was asked of which model, and its answers."""

    model: str
    facts: dict[str, str]
    """What the registry says of the model: `version`, `trial`."""
    clips: int
    """Rows of the features."""
    duration: float
    """Seconds of the video."""
    duration_given: bool
    """False where each row counts as one second."""
    marks: list[str]
    """Why the model's scores are not to be taken at face value: leakage, reconstructions."""
    answers: list[Answer]
    """Best spans first, in the order of the queries; seconds and scores."""


def predict(
    model: str,
    features: Mapping[str, Path] | None,
    queries: Sequence[str],
    *,
    tracking: Url,
    video: str | None = None,
    duration: float | None = None,
    encoders: Mapping[str, str] | None = None,
    text_encoder: str | None = None,
    top: int = 1,
) -> Prediction:
    """Return the `top` spans of each query; without `duration` a row counts as one second.

    `features` are the files of the video by source, of the only one under any name. Without any,
    `video` is a video file, and its features are made as those of the model's dataset were;
    `encoders` say by source where the networks for that lie, if not where they were then, and
    `text_encoder` that of queries, where the model reads features of those.
    """
    if features is not None:
        read = {name: read_video(path, video) for name, path in features.items()}
        retriever, source, facts = load_model(model, tracking=tracking)
        text = _encoded(retriever, queries, text_encoder)
    else:
        file = _video_file(video)
        retriever, source, facts = load_model(model, tracking=tracking)
        text = _encoded(retriever, queries, text_encoder)
        read, seconds = _extracted(file, retriever.extractions(), encoders or {})
        duration = seconds if duration is None else duration
    rows = retriever.join(read)
    seconds = float(len(rows)) if duration is None else duration
    spans = retriever.retrieve(rows, list(queries), duration=seconds, top=top, text=text)
    return Prediction(
        model=source,
        facts=facts,
        clips=len(rows),
        duration=seconds,
        duration_given=duration is not None,
        marks=retriever.marks,
        answers=[
            Answer(query=query, spans=found, unknown=_unknown(retriever, query))
            for query, found in zip(queries, spans, strict=True)
        ],
    )


def _unknown(retriever: Retriever, query: str) -> list[str]:
    return [] if retriever.text is not None else retriever.words.unknown(query)


def _encoded(
    retriever: Retriever, queries: Sequence[str], encoder: str | None
) -> list[NDArray[np.float32]] | None:
    if retriever.text is None and encoder is None:
        return None
    return retriever.encode(queries, encoder)


def _video_file(video: str | None) -> Path:
    if video is None:
        raise DataError("give the video: --video FILE.mp4, or its --features FILE")
    file = Path(video)
    if not file.is_file():
        raise DataError(
            f"{file}: no such file; --video names a video file, or with --features "
            "the entry of an HDF5 file"
        )
    return file


def _extracted(
    file: Path, extractions: Mapping[str, Extraction], encoders: Mapping[str, str]
) -> tuple[dict[str, NDArray[np.floating]], float]:
    """Return the rows of a video file by source, and its seconds."""
    from refkd.video.encoder import Encoder  # seconds to import
    from refkd.video.extract import describe

    if unknown := sorted(encoders.keys() - extractions.keys()):
        known = (
            " and ".join(extractions) if "" not in extractions else "the only one, without a name"
        )
        raise DataError(f"--encoder of {unknown[0] or 'no name'}: the model's sources are {known}")
    rows: dict[str, NDArray[np.floating]] = {}
    seconds = 0.0
    for name, how in extractions.items():
        network = Encoder(encoders.get(name, how.model))
        network.require_same(how, "--encoder")
        rows[name], seconds = describe(file, network, how.fps)
    return rows, seconds


def read_video(path: Path, video: str | None = None) -> NDArray[np.floating]:
    """Return the rows (T, V) of a feature file, in HDF5 those of the entry `video`."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the features of one video")
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: unknown kind {path.suffix!r}; give one of {', '.join(SUFFIXES)}")
    if path.suffix not in HDF5_SUFFIXES:
        if video is not None:
            raise DataError(f"{path}: holds one video; --video {video} is for HDF5 files")
        return checked_rows(FeatureFile(path), path.stem)
    source = Hdf5Features(path)
    names = sorted(source.entries)
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    if video is None:
        if len(names) != 1:
            raise DataError(f"{path}: holds {len(names)} videos ({some}); say which: --video")
        video = names[0]
    if video not in source:
        raise DataError(f"{path}: has no entry {video!r}; it holds {some}")
    return checked_rows(source, video)
