"""Systems side by side: what is said of them, in percent, with intervals and differences."""

from __future__ import annotations

from pydantic import Field

from refkd.config import Config
from refkd.evaluation.probes import Probes


class Figure(Config):
    """A score or a difference, in percent: the mean over pairs and seeds."""

    value: float
    low: float | None = None
    """Lower end of the 95 % interval over videos; the seeds are held fixed in it."""
    high: float | None = None
    sd: float | None = None
    """Standard deviation over seeds, where there are several."""


Row = dict[str, Figure]


class Comparison(Config):
    """Everything that is said of some systems on one role in and one out of distribution."""

    pairs: dict[str, int]
    """Pairs of each role."""
    scores: dict[str, dict[str, Row]]
    """By role, system and metric."""
    differences: dict[str, dict[str, dict[str, Row]]]
    """Student - teacher on the same pairs, by role, student, teacher and metric."""
    gaps: dict[str, Figure]
    """mIoU in - mIoU out of distribution, by system; 95 % by the normal approximation."""
    floors: dict[str, dict[str, dict[str, float]]]
    """Bias floors, fitted on the fit role, by role, predictor and metric."""
    probes: dict[str, Probes] = Field(default_factory=dict)
    """What is left of each system without query, video or order, and by place; its first seed."""
