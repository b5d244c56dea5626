"""What a search is at, read from its storage alone: it may run anywhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from refkd.config import Config
from tune.study.budget import hypervolume
from tune.study.snapshot import StudySnapshot, StudyState
from tune.study.summary import Summary
from tune.study.view import EPOCH, TrialView, key_of

SCORES = ("val_id/miou", "val_ood/miou")
LATEST = 5
"""Trials that ended last, as many as are shown."""
Phase = Literal["teachers", "searching", "finishing", "ended", "stopped"]


class Running(Config):
    """A trial that has no outcome yet."""

    number: int
    epoch: int
    metrics: dict[str, float]
    silent: float | None
    """Seconds since its last epoch was stored."""
    paused: bool


class Best(Config):
    """The best of the complete trials in one objective."""

    trial: int
    value: float


class SearchStatus(Config):
    """A search at one moment."""

    study: str
    phase: Phase
    """`stopped`: nobody is at work and trials are left."""
    driver: str | None
    """Who is at work."""
    ended: int
    wanted: int
    epochs: int
    """Epochs of a whole trial."""
    states: dict[str, int]
    running: list[Running]
    latest: list[int] = Field(default_factory=list)
    """Trials that ended last, the last one first."""
    best: dict[str, Best]
    front: int
    hypervolume: float
    """Above 0."""
    summary: Summary = Field(exclude=True)


def look(study: StudySnapshot) -> SearchStatus:
    """Return what a study's search is at."""
    summary = study.summary
    points = [t.objectives for t in study.trials if t.number in summary.front and t.objectives]
    return SearchStatus(
        study=study.name,
        phase=_phase(study),
        driver=None if study.driver is None else str(study.driver),
        ended=summary.ended,
        wanted=summary.wanted,
        epochs=int(study.attributes.get("epochs", 0)),
        states=dict(Counter(t.state for t in study.trials)),
        running=[_running(t) for t in study.trials if t.state == "RUNNING"],
        latest=_latest(study.trials),
        best=_best(summary, study.trials),
        front=len(summary.front),
        hypervolume=hypervolume(points),
        summary=summary,
    )


def _phase(study: StudySnapshot) -> Phase:
    if study.state == StudyState.SEARCHING:
        return "searching" if study.trials else "teachers"
    if study.state.has_trials_left:
        return "stopped"
    return "ended" if study.driver is None else "finishing"


def _running(view: TrialView) -> Running:
    stamp = view.stamps.get(key_of(EPOCH, view.epoch)) if view.epoch else None
    return Running(
        number=view.number,
        epoch=view.epoch,
        metrics={k: v for k, v in view.last.items() if k in (*SCORES, "train/loss")},
        silent=None if stamp is None else max(0.0, time.time() - stamp.time),
        paused=view.paused_at is not None,
    )


def _latest(views: Sequence[TrialView]) -> list[int]:
    ended = [v for v in views if "ended" in v.stamps]
    ended.sort(key=lambda v: v.stamps["ended"].place, reverse=True)
    return [v.number for v in ended[:LATEST]]


def _best(summary: Summary, views: Sequence[TrialView]) -> dict[str, Best]:
    complete = [v for v in views if v.state == "COMPLETE" and v.feasible and v.objectives]
    found = {}
    for place, name in enumerate(summary.objectives):
        scored = [(list(v.objectives or [])[place], -v.number) for v in complete]
        if scored:
            value, number = max(scored)
            found[name] = Best(trial=-number, value=value)
    return found
