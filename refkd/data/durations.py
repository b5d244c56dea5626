"""How long videos are where annotations do not say it: from a list, or from the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refkd.data.features import FeatureSource, checked_rows
from refkd.data.layouts.files import number_of, read_json, read_table
from refkd.errors import DataError

VIDEO = ("id", "video", "video_id", "vid")
SECONDS = ("length", "duration", "seconds", "video_duration")
"""Columns of a list: those of Charades' own CSV, and those that others use."""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Where the length of a video is looked up."""

    listed: dict[str, Any] = field(default_factory=dict)
    """Seconds by video, as the lists have them."""
    features: FeatureSource | None = None
    rows_per_second: float | None = None
    """With `features`: a video lasts its rows over this."""
    measured: dict[str, float | None] = field(default_factory=dict)
    """What features have said, which are read once a video and not once a pair."""

    def __call__(self, video: str) -> Any:
        """Return the seconds of a video, unchecked; None where nothing is known."""
        if video in self.listed:
            return self.listed[video]
        if video not in self.measured:
            self.measured[video] = self._measure(video)
        return self.measured[video]

    def _measure(self, video: str) -> float | None:
        if self.features is None or video not in self.features:
            return None
        if self.rows_per_second is None:
            return self.features.seconds(video)
        return len(checked_rows(self.features, video)) / self.rows_per_second


def read_durations(
    paths: Sequence[Path],
    features: FeatureSource | None = None,
    rows_per_second: float | None = None,
) -> Durations:
    """Read lists of durations: CSV or Parquet with a column of ids and one of seconds, or JSON.

    The columns are called `id` and `length` as in Charades' own CSV, or by a name of `VIDEO` and
    `SECONDS`; JSON maps ids to seconds. Raises `DataError` where a list cannot be read, or two
    differ.
    """
    if rows_per_second is not None and not rows_per_second > 0:
        raise DataError(f"rows-per-second is {rows_per_second}; give a number above 0")
    listed: dict[str, Any] = {}
    for path in paths:
        for where, video, seconds in _listed(path):
            if listed.setdefault(video, seconds) != seconds:
                raise DataError(
                    f"{where}: video {video} lasts {seconds}, but {listed[video]} above or in "
                    f"another list; correct one"
                )
    return Durations(listed=listed, features=features, rows_per_second=rows_per_second)


def _listed(path: Path) -> list[tuple[str, str, Any]]:
    if path.suffix == ".json":
        content = read_json(path)
        if not isinstance(content, dict):
            raise DataError(f"{path}: is no JSON object; give seconds by video id")
        return [(str(path), video, seconds) for video, seconds in content.items()]
    rows = []
    for where, row in read_table(path):
        named = [next((n for n in names if n in row), None) for names in (VIDEO, SECONDS)]
        if None in named:
            raise DataError(f"{path}: has the columns {', '.join(row)}; name them id and length")
        video, seconds = (row[str(name)] for name in named)
        rows.append(
            (where, str(video), number_of(seconds) if isinstance(seconds, str) else seconds)
        )
    return rows
