"""What the features of a dataset are, and whether they can be what they are said to be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from refkd.data.features import FeatureSource
from refkd.data.joined import JoinedFeatures
from refkd.data.manifest import FeatureFacts, PartFacts
from refkd.data.store import Packed
from refkd.errors import DataError

NEARLY_ALL = 0.9
"""Share of the videos that are of no use from which features are refused."""


def feature_facts(
    source: FeatureSource,
    packed: Sequence[Packed],
    extractors: Mapping[str, str],
    durations: Mapping[str, float],
) -> FeatureFacts:
    """Return the facts about what was packed of a source; `durations` are seconds by video.

    `DataError` where nearly all videos have features that say nothing of when something happens.
    """
    rows = {video: count for part in packed for video, count in part.rows.items()}
    zero = list(dict.fromkeys(video for part in packed for video in part.zero))
    constant = list(dict.fromkeys(video for part in packed for video in part.constant))
    if len(zero) + len(constant) >= NEARLY_ALL * len(rows):
        where = source.where((zero or constant)[0])
        raise DataError(
            f"{where}: all rows of this video are the same, or there is one row alone, and so it "
            f"is of {len(zero) + len(constant):,} of {len(rows):,} videos ({len(zero):,} are 0 "
            f"alone); extract a row for each second or so"
        )
    low = np.min([part.low for part in packed if part.clips], axis=0)
    high = np.max([part.high for part in packed if part.clips], axis=0)
    rate, off = _lengths(rows, durations)
    return FeatureFacts(
        dim=packed[0].dim,
        layout=source.layout,
        extractor=extractors.get("", _told(source)),
        extraction=source.extraction,
        sha256=joined_sha256(part.sha256 for part in packed),
        source_sha256=joined_sha256(part.source_sha256 for part in packed),
        rows_per_second=rate,
        length_differences=len(off),
        largest_difference=round(max(off, default=0.0), 3),
        zero_videos=zero,
        constant_videos=constant,
        flat_columns=np.flatnonzero(low == high).tolist(),
        parts=_parts(source, extractors, durations),
    )


def _parts(
    source: FeatureSource, extractors: Mapping[str, str], durations: Mapping[str, float]
) -> list[PartFacts]:
    if not isinstance(source, JoinedFeatures):
        return []
    facts = []
    for part in source.parts:
        seen = {v: found for (name, v), found in sorted(source.seen.items()) if name == part.name}
        rate, _ = _lengths({video: found.rows for video, found in seen.items()}, durations)
        digest = hashlib.sha256(b"".join(v.encode() + b"\0" + s.sha256 for v, s in seen.items()))
        facts.append(
            PartFacts(
                name=part.name,
                layout=part.source.layout,
                dim=next(iter(seen.values())).dim,
                norm=part.norm,
                extractor=extractors.get(part.name, _told(part.source)),
                extraction=part.source.extraction,
                rows_per_second=rate,
                sha256=digest.hexdigest(),
            )
        )
    return facts


def _told(source: FeatureSource) -> str | None:
    return None if source.extraction is None else str(source.extraction)


def _lengths(
    rows: Mapping[str, int], durations: Mapping[str, float]
) -> tuple[float, Sequence[float]]:
    """Return rows a second (median), and by how many seconds videos differ that differ much."""
    counts = np.array(list(rows.values()), dtype=np.float64)
    seconds = np.array([durations[video] for video in rows])
    rate = float(np.median(counts / seconds))
    off = np.abs(counts / rate - seconds)
    return round(rate, 6), off[off > np.maximum(1.0, 0.05 * seconds)].tolist()


def joined_sha256(digests: Iterable[str]) -> str:
    """Return one sha256 over those of several parts."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
