"""Results of finalists and of evaluations on the test roles, as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from refkd.config import Config
from refkd.evaluation.comparison import Figure, Row
from refkd.evaluation.probes import Probes
from refkd.evaluation.standing import Standing
from tune.config.space import Values
from tune.study.event_base import study_events
from tune.study.events import LookDone
from tune.study.finalist_events import SeedResult
from tune.study.ledger import Look
from tune.study.summary import FINALISTS


class Comparison(Config):
    """Scores of some systems on one role in and one out of distribution."""

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
    """Scores of each system's first seed without query, video or order, and by place."""


class Finalist(Config):
    """A trial trained again on all fresh seeds."""

    trial: int
    values: Values
    runs: list[SeedResult]
    """One for each seed, in the order of the seeds."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Means over the seeds, `sd/...` their spread, costs added up; empty where a seed failed."""

    @property
    def failures(self) -> list[str]:
        """Why its students failed."""
        return [run.failed for run in self.runs if run.failed is not None]


class Finalists(Config):
    """The results of a study's finalists.

    >>> none = Comparison(pairs={}, scores={}, differences={}, gaps={}, floors={})
    >>> chosen = {"champions": {"best-ood": 2}, "kept": {"best-ood": 0}, "comparison": none}
    >>> found = Finalists(study="quick", seeds=[7], trials=4, finalists=[], **chosen)
    >>> found.champions["best-ood"], found.seeds[found.kept["best-ood"]]
    (2, 7)
    """

    study: str
    seeds: list[int]
    """Fresh seeds, of which a finalist that was soon out of doubt has only the first."""
    trials: int
    """Trials that had ended when they were chosen."""
    finalists: list[Finalist]
    champions: dict[str, int]
    """Trial by alias: best-id, best-ood, best-balanced."""
    kept: dict[str, int]
    """Index of the seed whose student is kept, by alias: the best on the alias's metric."""
    comparison: Comparison
    """Champions (`trial-NNNN`, all their seeds) and teachers on the validation roles."""
    standings: dict[str, Standing] = Field(default_factory=dict)
    """How sure it is that each champion is the best finalist, by alias; none where students of an
    earlier refkd kept nothing of each pair."""
    marks: list[str] = Field(default_factory=list)
    """Caveats: leakage, reconstructed settings."""

    def students(self, trial: int) -> int:
        """Return how many students a finalist has, one a seed."""
        return next(len(one.runs) for one in self.finalists if one.trial == trial)

    @property
    def seeds_text(self) -> str:
        """How many fresh seeds the finalists have, in words."""
        counts = {len(one.runs) for one in self.finalists}
        low, high = min(counts), max(counts)
        text = f"{high}" if low == high else f"{low} to {high}"
        return f"{text} fresh seed" if high == 1 else f"{text} fresh seeds"


class FinalReport(Config):
    """The results of an evaluation on the test roles.

    >>> none = Comparison(pairs={}, scores={}, differences={}, gaps={}, floors={})
    >>> FinalReport(
    ...     looks=[], from_finalists=True, seeds={"best-ood": 3}, features="I3D", comparison=none
    ... ).seeds["best-ood"]
    3
    """

    looks: list[Look]
    """All evaluations up to this one, the last."""
    from_finalists: bool
    """Whether the champions are finalists on fresh seeds, or the search's own students."""
    seeds: dict[str, int]
    """Number of students of each champion, whose mean is shown, by alias."""
    features: str
    """The author of the features."""
    comparison: Comparison
    """Champions (`trial-NNNN`) and teachers on `test_id` and `test_ood`."""
    marks: list[str] = Field(default_factory=list)
    """Caveats: leakage, reconstructed settings."""

    @property
    def look(self) -> Look:
        """This evaluation."""
        return self.looks[-1]


RESULTS = set(FinalReport.model_fields) - {"looks"}
"""What the event of a look holds of its report; the rows are those of all looks' events."""


def read_finalists(attributes: Mapping[str, Any]) -> Finalists | None:
    """Return the results of a study's finalists from its attributes; None before them."""
    held = attributes.get(FINALISTS)
    return None if held is None else Finalists.model_validate(held)


def final_path(folder: Path, look: int) -> Path:
    """Return the file of an evaluation's results; evaluations count from 1."""
    return folder / f"final-{look}.json"


def read_final(
    folder: Path, attributes: Mapping[str, Any], looks: Sequence[Look]
) -> FinalReport | None:
    """Return the results of the last of some looks that has ended; None where there are none.

    Those that an earlier refkd left to the file alone are read from there.
    """
    done = [look for look in looks if look.state == "done"]
    if not done:
        return None
    held = {one.look: one.results for one in study_events(attributes, LookDone)}
    if (results := held.get(done[-1].look)) is not None:
        return FinalReport.model_validate({**results, "looks": done})
    try:
        return FinalReport.model_validate_json(final_path(folder, done[-1].look).read_bytes())
    except (OSError, ValidationError):  # it was killed before it had written them
        return None
