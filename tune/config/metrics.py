"""The metrics that a search can go by: their names, and of which less is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from refkd.data.roles import OpenRole
from refkd.evaluation.metrics import LOGGED, PRECISION_LOGGED
from tune.config.keys import nearest

SCORES = (
    "miou",
    *(f"{kind}_iou{threshold}" for kind in ("r1", "dr1", "r5") for threshold in LOGGED),
    *(f"map_{threshold}" for threshold in (*PRECISION_LOGGED, "avg")),
    "hit1",
)
"""What each validation role is scored by, in percent."""
BALANCED = "val/harmonic_miou"
"""Harmonic mean of `val_id/miou` and `val_ood/miou`."""
VALIDATION = (*(f"{role}/{name}" for role in ("val_id", "val_ood") for name in SCORES), BALANCED)
PARAMETERS = "model/parameters"
COSTS = (PARAMETERS, "cost/epoch_seconds", "cost/cpu_seconds", "cost/wall_seconds")
"""Less is better of each: numbers that are learned, seconds an epoch, seconds in all."""


MEANS: dict[str, tuple[OpenRole, ...]] = {
    "val_id/miou": ("val_id",),
    "val_ood/miou": ("val_ood",),
    BALANCED: ("val_id", "val_ood"),
}
"""Roles whose pairs' temporal IoU a metric is the mean of."""


def _reported(name: str) -> str:
    return _one_of((*VALIDATION, *COSTS), name)


def _score(name: str) -> str:
    return _one_of(VALIDATION, name)


def _one_of(known: Sequence[str], name: str) -> str:
    if name.startswith("test"):
        raise ValueError(f"{name} is of a test role, which no search sees; use a validation role")
    if name not in known:
        others = [BALANCED, *(one for one in known if one in COSTS)]
        names = f"; give val_id/ or val_ood/ with {', '.join(SCORES)}, or {', '.join(others)}"
        raise ValueError(f"no trial reports {name!r}{nearest(name, known) or names}")
    return name


Objective = Annotated[
    str, AfterValidator(_reported), Field(json_schema_extra={"enum": [*VALIDATION, *COSTS]})
]
"""What a trial reports after each epoch of validation roles, and what it costs."""
Metric = Annotated[
    str, AfterValidator(_score), Field(json_schema_extra={"enum": list(VALIDATION)})
]
"""A validation score."""
