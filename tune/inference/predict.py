"""Asking a trained retriever where in a video the moments of some sentences lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from refkd.config import Config
from tune.inference.features import read_video
from tune.inference.model import load_model
from tune.inference.timeline import Answer


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
    """False where a row was taken for one second."""
    marks: list[str]
    """Why the model is not to be taken at its name: leakage, reconstructions."""
    answers: list[Answer]
    """Best spans first, in the order of the queries; seconds and scores."""


def predict(
    model: str,
    features: Path,
    queries: Sequence[str],
    *,
    tracking: str,
    video: str | None = None,
    duration: float | None = None,
    top: int = 1,
) -> Prediction:
    """Return the `top` spans of each query in the video of a feature file.

    `duration` is the video's length in seconds; without it a row counts as one second. Raises
    `RefKDError`, `CheckpointError` of the model and `DataError` of the features and queries.
    """
    rows = read_video(features, video)
    found = load_model(model, tracking=tracking)
    seconds = float(len(rows)) if duration is None else duration
    spans = found.retriever.retrieve(rows, list(queries), duration=seconds, top=top)
    return Prediction(
        model=found.source,
        facts=found.facts,
        clips=len(rows),
        duration=seconds,
        duration_given=duration is not None,
        marks=found.retriever.marks,
        answers=[Answer(query=q, spans=s) for q, s in zip(queries, spans, strict=True)],
    )
