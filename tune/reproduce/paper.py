"""The numbers that the paper prints beside ours."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml

from refkd.evaluation.metrics import LOGGED

COLUMNS = tuple(
    (side, metric)
    for side in ("id", "ood")
    for metric in (*(f"r1_iou{threshold}" for threshold in LOGGED), "miou")
)
"""What every table shows, in this order: in distribution, then out of distribution."""


def family_of(dataset: str) -> str | None:
    """Return whose numbers belong beside a dataset of this name; None for any other.

    >>> family_of("charades-cd-clip"), family_of("quickstart")
    ('charades-cd', None)
    """
    known = {"charades": "charades-cd", "activitynet": "activitynet-cd", "anet": "activitynet-cd"}
    found = [family for word, family in known.items() if word in dataset.lower()]
    return found[0] if found else None


def printed(family: str | None, table: str, row: str) -> dict[tuple[str, str], float]:
    """Return the paper's cells of a row by side (`id`, `ood`) and metric, those it has."""
    rows = _all().get(family or "", {}).get(table, {})
    values = rows.get(row, [None] * len(COLUMNS))
    return {c: v for c, v in zip(COLUMNS, values, strict=True) if v is not None}


@cache
def _all() -> dict[str, dict[str, dict[str, list[float | None]]]]:
    text = files("tune.reproduce").joinpath("paper.yaml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, dict[str, list[float | None]]]] = yaml.safe_load(text)
    return loaded
