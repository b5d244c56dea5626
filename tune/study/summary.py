"""What a study has found: front, champions and cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from refkd.config import Config
from refkd.evaluation.standing import Standing
from tune.config.space import Value
from tune.study.events import teachers_of
from tune.study.health import Finding
from tune.study.ranking import champions_in, current, front_of, pooled
from tune.study.view import ENDED_STATES, TrialView

FINALISTS = "finalists"
"""The study's attribute that holds the results of its finalists."""
STANDINGS = "standings"
"""The study's attribute that says how sure each champion of the search is."""


class Cost(Config):
    """What the trials of a study have used, also by their state."""

    trials: dict[str, int] = Field(default_factory=dict)
    epochs: int = 0
    cpu_seconds: float = 0.0
    cpu_seconds_by_state: dict[str, float] = Field(default_factory=dict)
    teacher_cpu_seconds: float = 0.0
    epochs_saved: int = 0
    """Epochs that pruned trials did not run."""


class TrialSummary(Config):
    """One trial as a table shows it."""

    number: int
    state: str
    epoch: int
    values: dict[str, Value]
    metrics: dict[str, float]
    reason: str | None = None
    retries: int | None = None
    """The failed trial that it tries again."""
    retried_as: int | None = None
    """The trial that tries it again."""
    pooled: list[int] = Field(default_factory=list)
    """The trials whose means it shows: those of a point that has had further seeds."""
    seeds: int = 1
    """Seeds of all these trials."""

    @property
    def members(self) -> list[int]:
        """The trials that it shows."""
        return self.pooled or [self.number]

    @property
    def seeds_text(self) -> str:
        """Which trials with how many seeds it shows, in words."""
        return f"trials {', '.join(map(str, self.pooled))}: {self.seeds} seeds"


class SelectedChampions(Config):
    """The champions chosen among the finalists; the registry's aliases point at them."""

    champions: dict[str, int]
    """Trial number by alias: best-id, best-ood, best-balanced."""
    trials: int
    """Trials that had ended when the finalists were chosen."""


class Summary(Config):
    """A study at one moment.

    >>> nothing = {"trials": [], "front": [], "champions": {}, "cost": Cost(), "teachers": {}}
    >>> Summary(study="quick", objectives=["val_id/miou"], wanted=12, **nothing).ended
    0
    """

    study: str
    objectives: list[str]
    minimize: list[str] = Field(default_factory=list)
    """The objectives of which less is better."""
    wanted: int
    """Trials of the budget, those that continue or retry others, points that were not tried; those
    that there are where another limit has ended the search."""
    stopped: str | None = None
    """Which limit other than the number of trials has ended the search, in words."""
    trials: list[TrialSummary]
    pooled: list[TrialSummary] = Field(default_factory=list)
    """Each point that trials with further seeds have in common, by the number of the first: front
    and champions are chosen by these means."""
    front: list[int]
    """Numbers of the complete trials that no other dominates, the best first objective first."""
    champions: dict[str, int]
    """Trial number by alias: best-id, best-ood."""
    crowned: SelectedChampions | None = None
    """What `refkd finalists` found; None before it."""
    cost: Cost
    teachers: dict[str, dict[str, float]]
    """Validation metrics of each teacher."""
    marks: list[str] = Field(default_factory=list)
    """Caveats of its results: leakage, reconstructed settings."""
    health: list[Finding] = Field(default_factory=list)
    """What is wrong with the search, and what to do about it."""
    intervals: dict[str, Any] = Field(default_factory=dict)
    """Champions' and teachers' scores with 95 % intervals, and the bias floors."""
    probes: dict[str, Any] = Field(default_factory=dict)
    """What is left of these systems' scores without query, video or order of clips, and by place
    of the moment, as `refkd.evaluation.probes.Probes`."""
    standings: dict[str, Standing] = Field(default_factory=dict)
    """How sure it is that each champion is the best trial, by alias; none where trials of an
    earlier refkd kept nothing of each pair."""

    def trial(self, number: int) -> TrialSummary:
        """Return a trial by its number, with all trials of its point where it is their first."""
        return next(t for t in (*self.pooled, *self.trials) if t.number == number)

    @property
    def points(self) -> list[TrialSummary]:
        """The trials, those of one point as one."""
        first = {t.number: t for t in self.pooled}
        others = {number for t in self.pooled for number in t.pooled[1:]}
        return [first.get(t.number, t) for t in self.trials if t.number not in others]

    @property
    def ended(self) -> int:
        """Trials with an outcome."""
        return sum(t.state in ENDED_STATES for t in self.trials)

    @property
    def outgrown(self) -> bool:
        """Whether trials have ended since the finalists were chosen."""
        return self.crowned is not None and self.crowned.trials != self.ended


def summarise(
    name: str,
    views: Sequence[TrialView],
    attributes: Mapping[str, Any],
    health: Sequence[Finding] = (),
    stopped: str | None = None,
) -> Summary:
    """Return the summary of a study from its trials, its own attributes and what is wrong.

    `stopped` says which limit ended the search before its last trial.
    """
    objectives = list(attributes.get("objectives", []))
    complete = [v for v in current(views) if v.feasible]
    budget = int(attributes.get("budget", {}).get("trials", len(views)))
    ended = sum(v.state in ENDED_STATES for v in views)
    chosen = attributes.get(FINALISTS)
    retried = {v.retries: v.number for v in views if v.retries is not None}
    seeds = {v.number: v.seeds for v in views}

    def row(v: TrialView) -> TrialSummary:
        scores = {k: s for k, s in v.kept.items() if k.startswith("val") or k in objectives}
        return TrialSummary(
            number=v.number,
            state=v.state,
            epoch=v.epoch,
            values=v.values,
            metrics=scores,
            reason=v.reason,
            retries=v.retries,
            retried_as=retried.get(v.number),
            pooled=list(v.pooled),
            seeds=sum(seeds[number] for number in v.members),
        )

    teachers = {role: one.metrics for role, one in teachers_of(attributes).items()}
    teacher_seconds = sum(scores.get("cost/cpu_seconds", 0.0) for scores in teachers.values())
    return Summary(
        study=name,
        objectives=objectives,
        minimize=list(attributes.get("minimize", [])),
        wanted=ended if stopped else budget + sum(v.again or v.refused for v in views),
        stopped=stopped,
        trials=[row(v) for v in views],
        pooled=[row(v) for v in pooled(views) if v.pooled],
        front=front_of(complete),
        champions=champions_in(complete),
        crowned=chosen
        and SelectedChampions(champions=chosen["champions"], trials=chosen["trials"]),
        cost=_cost_of(views, int(attributes.get("epochs", 0)), teacher_seconds),
        teachers=teachers,
        marks=attributes.get("marks", []),
        health=list(health),
        intervals=attributes.get("intervals", {}),
        probes=attributes.get("probes", {}),
        standings=attributes.get(STANDINGS, {}),
    )


def _cost_of(views: Sequence[TrialView], epochs: int, teacher_seconds: float) -> Cost:
    seconds: dict[str, float] = defaultdict(float)
    for view in views:
        seconds[view.state] += view.last.get("cost/cpu_seconds", 0.0)
    return Cost(
        trials=dict(Counter(v.state for v in views)),
        epochs=sum(v.epoch for v in views),
        cpu_seconds=sum(seconds.values()),
        cpu_seconds_by_state=dict(seconds),
        teacher_cpu_seconds=teacher_seconds,
        epochs_saved=sum(max(0, epochs - v.epoch) for v in views if v.state == "PRUNED"),
    )


def standing_words(alias: str, found: Standing) -> str:
    """Return how a champion stands, in words.

    >>> known = {"best": 3, "probability": {3: 0.62, 1: 0.3, 2: 0.08}, "optimism": 0.914}
    >>> found = Standing(**known, one_error=1, seeds=1)
    >>> print(standing_words("best-ood", found))  # doctest: +NORMALIZE_WHITESPACE
    best-ood: trial 3 is the best of 3 with probability 0.62 (trial 1: 0.30), by one seed; its
    mean flatters it by about 0.91 points; the cheapest within one standard error is trial 1
    """
    others = [number for number in found.probability if number != found.best][:1]
    beside = "".join(f" (trial {number}: {found.probability[number]:.2f})" for number in others)
    seeds = "one seed" if found.seeds == 1 else f"{found.seeds} seeds"
    return (
        f"{alias}: trial {found.best} is the best of {len(found.probability)} with probability "
        f"{found.probability[found.best]:.2f}{beside}, by {seeds}; its mean flatters it by about "
        f"{found.optimism:.2f} points; the cheapest within one standard error is trial "
        f"{found.one_error}"
    )
