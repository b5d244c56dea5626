"""From published splits to roles: the pseudo-OOD validation role is carved out of train."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from refkd.config import Config
from refkd.data.moments import Moment, Split
from refkd.data.roles import Role
from refkd.errors import DataError
from refkd.seeds import generator

ROLE_OF_SPLIT: dict[Split, Role] = {
    "train": "fit",
    "val": "val_id",
    "test_iid": "test_id",
    "test_ood": "test_ood",
}


class Carve(Config):
    """The constants of the carve, fixed in advance; no test annotation is an input to it."""

    fraction: float = Field(default=0.10, gt=0, lt=1)
    """q, the share of train moments that count as low-density."""
    longest: float | None = None
    """Length over duration that no moment of a carved video may exceed; null for no limit."""
    subsample: int | None = None
    """Moments the density is fitted on; null for all."""
    seed: int = 0
    """Of the subsample."""


CHARADES = Carve(fraction=0.10)
ACTIVITYNET = Carve(fraction=0.30, longest=0.5, subsample=12_000)


def carve(train: Sequence[Moment], constants: Carve) -> frozenset[str]:
    """Return the train videos that become `val_ood`.

    A Gaussian kernel density (Scott) of the clipped, normalised (start, end) of the train moments
    ranks them; a video is carved where at least half of its moments are among the lowest
    `fraction`. The same density made the published test-ood split (Yuan et al., 2021).
    """
    from scipy.stats import gaussian_kde  # slow to import, and workers never carve

    points = np.array([(m.start / m.duration, m.end / m.duration) for m in train]).clip(0.0, 1.0).T
    fitted = points
    if constants.subsample is not None and constants.subsample < points.shape[1]:
        rng = generator(constants.seed, "carve")
        fitted = points[:, rng.choice(points.shape[1], constants.subsample, replace=False)]
    try:
        density = gaussian_kde(fitted)(points)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise DataError(
            f"no density of the {len(train)} train moments ({error}); val_ood needs train moments "
            f"at more than a few places"
        ) from None
    low = density <= np.quantile(density, constants.fraction)
    lengths = points[1] - points[0]
    rows: dict[str, list[int]] = defaultdict(list)
    for row, moment in enumerate(train):
        rows[moment.video_id].append(row)
    return frozenset(
        video
        for video, mine in rows.items()
        if low[mine].mean() >= 0.5
        and (constants.longest is None or lengths[mine].max() <= constants.longest)
    )


def role_of(split: Split, video: str, carved: frozenset[str]) -> Role:
    """Return the role of a video of a split."""
    return "val_ood" if split == "train" and video in carved else ROLE_OF_SPLIT[split]
