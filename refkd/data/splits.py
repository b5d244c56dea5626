"""From published splits to roles: the pseudo-OOD validation role is carved out of train.

Where there is no validation split either, one is drawn by video.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from refkd.config import Config
from refkd.data.moments import Annotations, Holdout, Moment, Split
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


FEWEST_VIDEOS = 2
"""Videos that a role to be judged by has at least: fewer cannot be resampled."""
CHARADES = Carve(fraction=0.10)
ACTIVITYNET = Carve(fraction=0.30, longest=0.5, subsample=12_000)


def carve(train: Sequence[Moment], constants: Carve) -> frozenset[str]:
    """Return the train videos that become `val_ood`.

    A Gaussian kernel density (Scott) of the clipped, normalised (start, end) of the train moments
    ranks them; a video is carved where at least half of its moments are among the lowest
    `fraction`. The same density made the published test-ood split (Yuan et al., 2021).
    """
    from scipy.stats import gaussian_kde  # slow to import, and workers never carve

    windows = [(m, window) for m in train for window in m.windows]
    points = np.array([(s / m.duration, e / m.duration) for m, (s, e) in windows])
    points = points.clip(0.0, 1.0).T
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
    for row, (moment, _) in enumerate(windows):
        rows[moment.video_id].append(row)
    return frozenset(
        video
        for video, mine in rows.items()
        if low[mine].mean() >= 0.5
        and (constants.longest is None or lengths[mine].max() <= constants.longest)
    )


def hold_out(annotations: Annotations, *, fraction: float, seed: int) -> Annotations:
    """Return annotations without a validation split with one: some of the train videos, by seed.

    `DataError` where train has too few videos, or `fraction` is no share.
    """
    if not 0 < fraction < 1:
        raise DataError(f"val-fraction is {fraction}; give a share between 0 and 1")
    train = annotations.splits["train"]
    videos = sorted({moment.video_id for moment in train})
    count = max(FEWEST_VIDEOS, round(fraction * len(videos)))
    if len(videos) < count + FEWEST_VIDEOS:
        raise DataError(
            f"train has {len(videos)} videos, too few to validate on {count} of them; give more, "
            f"or a split of val"
        )
    drawn = generator(seed, "holdout").permutation(len(videos))[:count]
    held = {videos[k] for k in drawn}
    val = [moment for moment in train if moment.video_id in held]
    rest = [moment for moment in train if moment.video_id not in held]
    return replace(
        annotations,
        splits={**annotations.splits, "train": rest, "val": val},
        holdout=Holdout(fraction=fraction, seed=seed, videos=sorted(held)),
    )


def role_of(split: Split, video: str, carved: frozenset[str]) -> Role:
    """Return the role of a video of a split."""
    return "val_ood" if split == "train" and video in carved else ROLE_OF_SPLIT[split]
