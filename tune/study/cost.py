"""What the trials of a study have used."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import Field

from refkd.config import Config
from tune.study.view import TrialView


class Cost(Config):
    """What the trials of a study have used, also by their state."""

    trials: dict[str, int] = Field(default_factory=dict)
    epochs: int = 0
    cpu_seconds: float = 0.0
    cpu_seconds_by_state: dict[str, float] = Field(default_factory=dict)
    teacher_cpu_seconds: float = 0.0
    epochs_saved: int = 0
    """Epochs that pruned trials did not run."""


def cost_of(views: Sequence[TrialView], epochs: int, teacher_seconds: float) -> Cost:
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
