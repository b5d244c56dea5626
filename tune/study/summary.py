"""What a study has found: front, champions and cost, read from the storage alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from refkd.config import Config
from tune.config.space import Value
from tune.study.events import teachers_of
from tune.study.view import CONTINUES, TrialView, current

CHAMPIONS = {"best-id": "val_id/miou", "best-ood": "val_ood/miou"}
FINALISTS = "finalists"
"""The study's attribute that holds what its finalists came to."""


class TrialSummary(Config):
    """One trial as a table shows it."""

    number: int
    state: str
    epoch: int
    values: dict[str, Value]
    metrics: dict[str, float]
    reason: str | None = None


class Cost(Config):
    """What a study has used, by what became of it."""

    trials: dict[str, int] = Field(default_factory=dict)
    epochs: int = 0
    cpu_seconds: float = 0.0
    cpu_seconds_by_state: dict[str, float] = Field(default_factory=dict)
    teacher_cpu_seconds: float = 0.0
    epochs_saved: int = 0
    """Epochs that pruned trials did not run."""


class Crowned(Config):
    """The champions that fresh seeds chose; the registry's aliases point at them."""

    champions: dict[str, int]
    """Trial number by alias: best-id, best-ood, best-balanced."""
    trials: int
    """Trials that had ended when the finalists were chosen."""


class Summary(Config):
    """A study at one moment."""

    study: str
    objectives: list[str]
    wanted: int
    """Trials of the budget, and those that continue others beside it."""
    trials: list[TrialSummary]
    front: list[int]
    """Numbers of the complete trials that no other beats in every objective, best ID first."""
    champions: dict[str, int]
    """Trial number by alias: best-id, best-ood."""
    crowned: Crowned | None = None
    """What `refkd finalists` found; None before it."""
    cost: Cost
    teachers: dict[str, dict[str, float]]
    """Validation metrics of each teacher."""
    marks: list[str] = Field(default_factory=list)
    """Why its results are not to be taken at their names: leakage, reconstructions."""
    intervals: dict[str, Any] = Field(default_factory=dict)
    """Champions' and teachers' scores with 95 % intervals, and the bias floors."""
    probes: dict[str, Any] = Field(default_factory=dict)
    """What is left of these systems' scores without query, video or order of clips, and by place
    of the moment, as `refkd.evaluation.probes.Probes`."""

    def trial(self, number: int) -> TrialSummary:
        """Return a trial by its number."""
        return next(t for t in self.trials if t.number == number)

    @property
    def ended(self) -> int:
        """Trials with an outcome."""
        return sum(t.state in ("COMPLETE", "PRUNED", "FAIL") for t in self.trials)

    @property
    def outgrown(self) -> bool:
        """Whether trials have ended since the finalists were chosen."""
        return self.crowned is not None and self.crowned.trials != self.ended


def summarise(
    name: str,
    views: Sequence[TrialView],
    attributes: Mapping[str, Any],
) -> Summary:
    """Return the summary of a study from its trials and its own attributes."""
    objectives = list(attributes.get("objectives", []))
    complete = [v for v in current(views) if v.feasible]
    budget = int(attributes.get("budget", {}).get("trials", len(views)))
    teachers = {role: one.metrics for role, one in teachers_of(attributes).items()}
    return Summary(
        study=name,
        objectives=objectives,
        wanted=budget + sum(CONTINUES in v.attributes for v in views),
        trials=[_row(v) for v in views],
        front=_front(complete),
        champions=_champions(complete),
        crowned=_crowned(attributes),
        cost=_cost(views, attributes, teachers),
        teachers=teachers,
        marks=attributes.get("marks", []),
        intervals=attributes.get("intervals", {}),
        probes=attributes.get("probes", {}),
    )


def _row(view: TrialView) -> TrialSummary:
    return TrialSummary(
        number=view.number,
        state=view.state,
        epoch=view.epoch,
        values=view.values,
        metrics={k: v for k, v in view.kept.items() if k.startswith("val")},
        reason=view.reason,
    )


def _front(complete: Sequence[TrialView]) -> list[int]:
    if not complete:
        return []
    values = np.array([v.objectives for v in complete], dtype=np.float64)
    best = non_dominated(values)
    order = np.argsort(-values[:, 0], kind="stable")
    return [complete[i].number for i in order if best[i]]


def non_dominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of (N, objectives) nobody dominates, objectives maximised.

    Those of rank 0 by `moocore.pareto_rank`; a look at a study would wait longer for its import
    than for all else.
    """
    best = np.ones(len(values), dtype=np.bool_)
    # Whoever dominates a row has the higher sum, so hardly any but the front is compared with all.
    for row in np.argsort(-values.sum(axis=1), kind="stable"):
        if best[row]:
            best &= ~((values <= values[row]).all(axis=1) & (values < values[row]).any(axis=1))
    return best


def _champions(complete: Sequence[TrialView]) -> dict[str, int]:
    """The best of each validation role; ties go to the lower number."""
    found = {}
    for alias, metric in CHAMPIONS.items():
        scored = [v for v in complete if metric in v.kept]
        if scored:
            found[alias] = max(scored, key=lambda v: (v.kept[metric], -v.number)).number
    return found


def _crowned(attributes: Mapping[str, Any]) -> Crowned | None:
    held = attributes.get(FINALISTS)
    return held and Crowned(champions=held["champions"], trials=held["trials"])


def _cost(
    views: Sequence[TrialView],
    attributes: Mapping[str, Any],
    teachers: dict[str, dict[str, float]],
) -> Cost:
    seconds: dict[str, float] = defaultdict(float)
    for view in views:
        seconds[view.state] += view.last.get("cost/cpu_seconds", 0.0)
    epochs = int(attributes.get("epochs", 0))
    return Cost(
        trials=dict(Counter(v.state for v in views)),
        epochs=sum(v.epoch for v in views),
        cpu_seconds=sum(seconds.values()),
        cpu_seconds_by_state=dict(seconds),
        teacher_cpu_seconds=sum(t.get("cost/cpu_seconds", 0.0) for t in teachers.values()),
        epochs_saved=sum(max(0, epochs - v.epoch) for v in views if v.state == "PRUNED"),
    )
