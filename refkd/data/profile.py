"""What a person judges a prepared dataset by: lengths, places of moments, unknown words.

Only open roles are read. Letters in shapes: N pairs, W windows of a query.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.data.manifest import MOMENTS
from refkd.data.pairs import Pairs
from refkd.data.roles import OPEN_ROLES

PARTS = 20
"""Parts of a video that places of moments are counted in."""
NAMED = 10
"""Unknown words that are named."""


class Spread(Config):
    """A tenth lies below `low`, a tenth above `high`."""

    low: float
    median: float
    high: float


class RoleProfile(Config):
    """An open role."""

    pairs: int
    videos: int
    video_seconds: Spread
    moment_seconds: Spread
    """Of all windows, clamped to their video; an empty or reversed one has 0."""
    moment_share: Spread
    """Of its video."""
    empty: int
    """Windows that are empty or reversed, which no prediction can hit."""
    windows: float
    """Mean number a query."""
    places: list[float]
    """Share of the windows that lie over each of `PARTS` parts of their video."""


class UnknownWords(Config):
    """Words of the open roles without a vector: they look alike to a network."""

    words: int
    share: float
    """Of all tokens."""
    most: list[str]
    """The most frequent ones."""


class Profile(Config):
    """All open roles, and their words."""

    roles: dict[str, RoleProfile]
    unknown: UnknownWords | None
    """None where queries are given as features."""


def profile(dataset: Dataset) -> Profile:
    """Return the profile of a dataset's open roles; nothing sealed is opened."""
    present = [role for role in OPEN_ROLES if role in dataset.manifest.roles]
    return Profile(
        roles={role: _role(dataset.role(role)) for role in present},
        unknown=None if dataset.manifest.words is None else _unknown(dataset),
    )


def _role(pairs: Pairs) -> RoleProfile:
    there = np.arange(pairs.annotated.shape[1]) < pairs.window_counts[:, None]
    duration = np.broadcast_to(pairs.duration[:, None], there.shape)[there]
    windows = np.clip(pairs.annotated[there], 0.0, duration[:, None])
    seconds = np.maximum(windows[:, 1] - windows[:, 0], 0.0)
    lengths = dict(zip(pairs.video_ids, pairs.duration.tolist(), strict=True))
    return RoleProfile(
        pairs=len(pairs),
        videos=len(lengths),
        video_seconds=_spread(np.array(list(lengths.values()))),
        moment_seconds=_spread(seconds),
        moment_share=_spread(seconds / duration),
        empty=int((seconds == 0).sum()),
        windows=float(pairs.window_counts.mean()),
        places=_places(windows / duration[:, None]),
    )


def _places(windows: NDArray[np.float64]) -> list[float]:
    middles = (np.arange(PARTS) + 0.5) / PARTS
    over = (windows[:, :1] <= middles) & (middles < windows[:, 1:])
    shares: list[float] = over.mean(axis=0).round(4).tolist()
    return shares


def _spread(values: NDArray[np.float64]) -> Spread:
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9]).round(3).tolist()
    return Spread(low=low, median=median, high=high)


def _unknown(dataset: Dataset) -> UnknownWords:
    rows = pq.read_table(dataset.path / MOMENTS, columns=["tokens"], use_threads=False)["tokens"]
    said = Counter(token for tokens in rows.to_pylist() for token in tokens)
    known = set(dataset.words.tokens)
    unknown = {token: count for token, count in said.items() if token not in known}
    by_frequency = sorted(unknown, key=lambda token: (-unknown[token], token))
    return UnknownWords(
        words=len(unknown),
        share=round(sum(unknown.values()) / max(1, said.total()), 6),
        most=by_frequency[:NAMED],
    )
