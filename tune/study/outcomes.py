"""What finalists and looks at the test roles came to, as the study keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from refkd.config import Config
from refkd.evaluation.comparison import Figure, Row
from refkd.evaluation.probes import Probes
from tune.config.space import Values
from tune.study.ledger import Look
from tune.study.summary import FINALISTS

EARLIER = "Scored by an earlier version: the seeds are held fixed in these intervals."


class Comparison(Config):
    """Everything that is said of some systems on one role in and one out of distribution."""

    pairs: dict[str, int]
    """Pairs of each role."""
    scores: dict[str, dict[str, Row]]
    """By role, system and metric."""
    differences: dict[str, dict[str, dict[str, Row]]]
    """Student - teacher on the same pairs, by role, student, teacher and metric."""
    gaps: dict[str, Figure]
    """mIoU in - mIoU out of distribution, by system."""
    floors: dict[str, dict[str, dict[str, float]]]
    """Bias floors, fitted on the fit role, by role, predictor and metric."""
    probes: dict[str, Probes] = Field(default_factory=dict)
    """What is left of each system without query, video or order, and by place; its first seed."""

    @property
    def caveat(self) -> str:
        """What its intervals lack where an earlier version made them; else empty."""
        rows = [row for systems in self.scores.values() for row in systems.values()]
        whole = all(figure.half_videos is not None for row in rows for figure in row.values())
        return "" if whole else EARLIER


class SeedResult(Config):
    """What a finalist's student of one seed came to: metrics and weights, or why it failed."""

    seed: int
    epochs: int = 0
    """Epochs it trained."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Of the epoch that was kept; costs are of the whole training."""
    sha256: str | None = None
    """Of its weights."""
    failed: str | None = None


class Finalist(Config):
    """A trial's values on all fresh seeds."""

    trial: int
    values: Values
    runs: list[SeedResult]
    """A student a seed, in the order of the seeds."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Means over the seeds, `sd/...` their spread, costs added up; empty where a seed failed."""

    @property
    def failures(self) -> list[str]:
        """Why its students failed."""
        return [run.failed for run in self.runs if run.failed is not None]


class Finalists(Config):
    """What the finalists of a study came to."""

    study: str
    seeds: list[int]
    trials: int
    """Trials that had ended when they were chosen."""
    finalists: list[Finalist]
    champions: dict[str, int]
    """Trial by alias: best-id, best-ood, best-balanced."""
    kept: dict[str, int]
    """Which seed's student, counted from 0, is kept for each alias: the best on its metric."""
    comparison: Comparison
    """Champions (`trial-NNNN`, all their seeds) and teachers on the validation roles."""
    marks: list[str] = Field(default_factory=list)
    """Why they are not to be taken at their names: leakage, reconstructions."""


class FinalReport(Config):
    """What a look at the test roles has shown."""

    looks: list[Look]
    """All looks up to this one, the last."""
    from_finalists: bool
    """Whether the champions are finalists on fresh seeds, or the search's own students."""
    seeds: dict[str, int]
    """Students of each champion, whose mean is shown, by alias."""
    features: str
    """Who extracted the features."""
    comparison: Comparison
    """Champions (`trial-NNNN`) and teachers on `test_id` and `test_ood`."""
    marks: list[str] = Field(default_factory=list)
    """Why they are not to be taken at their names: leakage, reconstructions."""

    @property
    def look(self) -> Look:
        """This look."""
        return self.looks[-1]


def read_finalists(attributes: Mapping[str, Any]) -> Finalists | None:
    """Return what a study's finalists came to, from its attributes; None before that."""
    held = attributes.get(FINALISTS)
    return None if held is None else Finalists.model_validate(held)


def final_path(folder: Path, look: int) -> Path:
    """Return where what a look has shown is kept; looks count from 1."""
    return folder / f"final-{look}.json"


def read_final(folder: Path, looks: Sequence[Look]) -> FinalReport | None:
    """Return what the last look has shown; None where it was not kept whole."""
    path = final_path(folder, len(looks))
    if not looks or not path.is_file():
        return None
    try:
        return FinalReport.model_validate_json(path.read_bytes())
    except ValidationError:
        return None
