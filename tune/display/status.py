"""A search at a moment, read from its storage alone."""

from __future__ import annotations

import time
from collections import Counter
from typing import Literal

from pydantic import Field

from refkd.config import Config
from tune.display.console import ID, OOD
from tune.study.health import Finding
from tune.study.ranking import best_by_objective, current, hypervolume
from tune.study.snapshot import StudySnapshot
from tune.study.state import StudyState
from tune.study.summary import Summary
from tune.study.view import ENDED, EPOCH, TrialView, key_of

LATEST = 5
"""How many of the trials that ended last are shown."""

Phase = Literal["teachers", "searching", "finishing", "ended", "stopped"]


class Running(Config):
    """A trial that has not ended."""

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
    health: list[Finding] = Field(default_factory=list)
    """What is wrong with the search, and what to do about it."""
    summary: Summary = Field(exclude=True)


def search_status(study: StudySnapshot) -> SearchStatus:
    """Return how far a study's search is."""
    summary = study.summary
    complete = current(study.trials)
    points = [t.gains for t in complete if t.number in summary.front and t.gains]
    ended = [trial for trial in study.trials if ENDED in trial.stamps]
    ended.sort(key=lambda trial: trial.stamps[ENDED].place, reverse=True)
    return SearchStatus(
        study=study.name,
        phase=_phase(study),
        driver=None if study.driver is None else str(study.driver),
        ended=summary.ended,
        wanted=summary.wanted,
        epochs=int(study.attributes.get("epochs", 0)),
        states=dict(Counter(t.state for t in study.trials)),
        running=[_running(t, summary) for t in study.trials if t.state == "RUNNING"],
        latest=[trial.number for trial in ended[:LATEST]],
        best={
            name: Best(trial=number, value=value)
            for name, (number, value) in best_by_objective(summary.objectives, complete).items()
        },
        front=len(summary.front),
        hypervolume=hypervolume(points),
        health=summary.health,
        summary=summary,
    )


def _phase(study: StudySnapshot) -> Phase:
    if study.state == StudyState.SEARCHING:
        return "searching" if study.trials else "teachers"
    if study.state.has_trials_left:
        return "stopped"
    return "ended" if study.driver is None else "finishing"


def _running(trial: TrialView, summary: Summary) -> Running:
    stamp = trial.stamps.get(key_of(EPOCH, trial.epoch))
    shown = (ID, OOD, "train/loss", *summary.objectives)
    return Running(
        number=trial.number,
        epoch=trial.epoch,
        metrics={k: v for k, v in trial.last.items() if k in shown},
        silent=None if stamp is None else max(0.0, time.time() - stamp.time),
        paused=trial.paused_at is not None,
    )
