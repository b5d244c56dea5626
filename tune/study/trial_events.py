"""The events of a trial: one class for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

from tune.config.space import Values
from tune.study.event_base import EventBase, Metrics
from tune.study.view import ASKED, ENDED, EPOCH, PROMOTION, RUNG, SCORED, Action

Hashes = list[str] | None
"""sha256 of each student's record, one a seed; None where nobody said."""


class TrialAsked(EventBase, prefix=ASKED):
    """The sampler has given a trial its values."""

    values: Values
    repeats: int | None = None
    """Trials that had them before, where its students have other seeds than theirs."""


class EpochEnded(EventBase, prefix=EPOCH, in_key=("epoch",)):
    """A trial has trained an epoch, counted from 1."""

    epoch: int
    metrics: Metrics

    def content(self) -> dict[str, Any]:
        """Return the metrics, which are all that is stored."""
        return dict(self.metrics)

    @classmethod
    def read(cls, key: str, content: Mapping[str, Any]) -> Self:
        """Return the event that an attribute holds."""
        return cls(epoch=int(key.removeprefix(cls.PREFIX)), metrics=dict(content))


class VideosScored(EventBase, prefix=SCORED, in_key=("epoch",)):
    """What a trial scored on the pairs of each video at a rung, where trials race by them."""

    epoch: int
    scored: dict[str, str]
    """As `tune.study.racing.pack`, by the metric that is the mean; of racing seeds their mean."""

    def content(self) -> dict[str, Any]:
        """Return the scores, which are all that is stored."""
        return dict(self.scored)

    @classmethod
    def read(cls, key: str, content: Mapping[str, Any]) -> Self:
        """Return the event that an attribute holds."""
        return cls(epoch=int(key.removeprefix(cls.PREFIX)), scored=dict(content))


class RungJudged(EventBase, prefix=RUNG, in_key=("epoch",)):
    """The pruner has decided about a trial at a rung."""

    epoch: int
    action: Action
    better: int | None = None
    """Trials at the rung that rank strictly before it."""
    among: int | None = None
    """Trials compared at the rung, this one included."""
    probability: float | None = None
    """That it is among those that pass, where trials race."""
    used: float | None = None
    """Seconds or money that the trial had used, where rungs lie there."""
    written: dict[str, Any] | None = None
    """Attributes that a pruner of Optuna's stored in the trial."""


class TrialPromoted(EventBase, prefix=PROMOTION, in_key=("epoch",)):
    """A trial that was paused at a rung goes on."""

    epoch: int
    better: int
    among: int
    finish: bool = False
    """Whether it is not paused again, as else too few trials would be complete."""


class TrialEnded(EventBase, prefix=ENDED):
    """A trial has an outcome."""

    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    values: list[float] | None = None
    """The objectives of a complete trial."""
    final: Metrics | None = None
    """Metrics of the weights that a complete trial has kept."""
    violations: Metrics | None = None
    """How far a complete trial misses each bound; above 0 is missed."""
    students: Hashes = None
    """sha256 of each student's record, which holds that of its weights, of a complete trial."""


TrialEvent = TrialAsked | EpochEnded | VideosScored | RungJudged | TrialPromoted | TrialEnded
_OF_TRIALS: tuple[type[TrialEvent], ...] = get_args(TrialEvent)


def trial_event(key: str, content: Mapping[str, Any]) -> TrialEvent:
    """Return the event that an attribute of a trial holds, without its stamp."""
    return next(kind for kind in _OF_TRIALS if key.startswith(kind.PREFIX)).read(key, content)
