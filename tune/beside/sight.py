"""What a search is at, read from its storage alone: it may run anywhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from refkd.config import Config
from tune.study.budget import hypervolume
from tune.study.lease import driver_of
from tune.study.results import Summary, summarise
from tune.study.view import EPOCH, TrialView, key_of, view

if TYPE_CHECKING:
    import optuna

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


class Sight(Config):
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


def look(study: optuna.Study) -> Sight:
    """Return what a study's search is at; nothing is written and no lease is taken."""
    views = [view(trial) for trial in study.get_trials(deepcopy=False)]
    attributes = dict(study.user_attrs)
    summary = summarise(study.study_name, views, attributes)
    driver = driver_of(attributes)
    alive = driver is not None and driver.lives()
    points = [v.objectives for v in views if v.number in summary.front and v.objectives]
    return Sight(
        study=study.study_name,
        phase=_phase(summary, attributes, alive=alive),
        driver=str(driver) if alive else None,
        ended=summary.ended,
        wanted=summary.wanted,
        epochs=int(attributes.get("epochs", 0)),
        states=dict(Counter(v.state for v in views)),
        running=[_running(v) for v in views if v.state == "RUNNING"],
        latest=_latest(views),
        best=_best(summary, views),
        front=len(summary.front),
        hypervolume=hypervolume(points),
        summary=summary,
    )


def _phase(summary: Summary, attributes: Mapping[str, Any], *, alive: bool) -> Phase:
    unfinished = any(t.state in ("RUNNING", "WAITING") for t in summary.trials)
    crowned = attributes.get("crowned") or {}
    done = not unfinished and (
        summary.ended >= summary.wanted or crowned.get("trials") == summary.ended > 0
    )
    if done:
        return "finishing" if alive else "ended"
    if not alive:
        return "stopped"
    return "searching" if summary.trials else "teachers"


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
