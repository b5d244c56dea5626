"""Several sources of features joined: the rows of each side by side, aligned in time.

The rows of a source span the whole video, whatever their rate. Those of the source with the most
rows stay; beside each stands the row of every other source that covers its middle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from refkd.data.extraction import Extraction
from refkd.data.features import FeatureSource, checked_rows

Norm = Literal["none", "unit"]
"""What is done to each row of a source: nothing, or it is scaled to length 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One source of several."""

    name: str
    source: FeatureSource
    norm: Norm = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was read of a video of a source."""

    rows: int
    dim: int
    sha256: bytes
    """Of the array as read."""


class JoinedFeatures:
    """Sources joined to one."""

    layout = "joined"
    extraction: Extraction | None = None  # each part has its own

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.seen: dict[tuple[str, str], Seen] = {}
        """By source and video."""

    def __contains__(self, video: str) -> bool:
        return all(video in part.source for part in self.parts)

    def where(self, video: str) -> str:
        """Return the places of a video."""
        return " and ".join(part.source.where(video) for part in self.parts)

    def read(self, video: str) -> NDArray[np.float32]:
        """Return the rows of a video: (most rows of a source, sum of the widths)."""
        rows = {}
        for part in self.parts:
            rows[part.name] = read = checked_rows(part.source, video)
            self.seen[part.name, video] = Seen(
                rows=len(read), dim=read.shape[1], sha256=digest_of(read)
            )
        return join(rows, {part.name: part.norm for part in self.parts})

    def seconds(self, video: str) -> float | None:
        """Return how long a video is, as the first source has it that says so."""
        said = (part.source.seconds(video) for part in self.parts)
        return next((seconds for seconds in said if seconds is not None), None)

    def missing(self, videos: Sequence[str]) -> str:
        """Return which videos each source lacks, as it says it."""
        said = []
        for part in self.parts:
            lacked = [video for video in videos if video not in part.source]
            if lacked:
                said.append(f"{part.name} lacks {part.source.missing(lacked)}")
        return "; ".join(said)


def joined(sources: Mapping[str, FeatureSource], unit: Collection[str]) -> FeatureSource:
    """Return sources by name as one; the only one is itself, unless its rows are scaled."""
    if len(sources) == 1 and not unit:
        return next(iter(sources.values()))
    norms: dict[str, Norm] = {name: "unit" if name in unit else "none" for name in sources}
    return JoinedFeatures([Part(name=n, source=s, norm=norms[n]) for n, s in sources.items()])


def join(
    rows: Mapping[str, NDArray[np.floating]], norms: Mapping[str, Norm]
) -> NDArray[np.float32]:
    """Return the rows (T, V) of the sources of a video side by side, in the order of `norms`.

    >>> two = {"clip": np.ones((2, 1)), "slowfast": np.array([[0.0], [2.0], [4.0], [6.0]])}
    >>> join(two, {"clip": "none", "slowfast": "none"}).tolist()
    [[1.0, 0.0], [1.0, 2.0], [1.0, 4.0], [1.0, 6.0]]
    """
    most = max(len(rows[name]) for name in norms)
    middles = (np.arange(most) + 0.5) / most
    scaled = [_scaled(rows[name], norm) for name, norm in norms.items()]
    return np.concatenate([part[(middles * len(part)).astype(int)] for part in scaled], axis=1)


def _scaled(rows: NDArray[np.floating], norm: Norm) -> NDArray[np.float32]:
    plain = np.asarray(rows, dtype=np.float32)
    if norm == "none":
        return plain
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.where(lengths > 0, plain / np.maximum(lengths, 1e-30), 0)
    return scaled


def digest_of(rows: NDArray[np.floating]) -> bytes:
    """Return the sha256 of an array: its kind, its shape and its values."""
    described = f"{rows.dtype.str}{rows.shape}".encode() + np.ascontiguousarray(rows).tobytes()
    return hashlib.sha256(described).digest()
