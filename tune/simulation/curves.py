"""Recorded learning curves of a study, in a file that a simulation plays back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from refkd.config import Config
from refkd.errors import RefKDError
from refkd.files import replaced
from tune.config.space import Value

if TYPE_CHECKING:
    from tune.study.snapshot import StudySnapshot


class CurvesError(RefKDError):
    """A file that holds no curves."""


class Curve(Config):
    """One trial: its values and its metrics, the first epoch's first."""

    values: dict[str, Value]
    metrics: list[dict[str, float]] = Field(min_length=1)

    def at(self, epoch: int) -> dict[str, float]:
        """Return the metrics of an epoch; of the last one known where it was stopped before."""
        return self.metrics[min(epoch, len(self.metrics)) - 1]

    def seconds(self, epoch: int) -> float:
        """Return how long an epoch took; as long as those known on average, beyond them."""
        walls = self._walls
        if epoch < len(walls):
            return max(1e-3, walls[epoch] - walls[epoch - 1])
        return max(1e-3, walls[-1] / (len(walls) - 1))

    @cached_property
    def _walls(self) -> list[float]:
        """Wall seconds at the end of each epoch, from 0 before the first."""
        known = enumerate(self.metrics, start=1)
        return [0.0, *(row.get("cost/wall_seconds", float(epoch)) for epoch, row in known)]


class CurveTable(Config):
    """The curves of a study."""

    study: str
    objectives: list[str]
    curves: list[Curve] = Field(min_length=1)

    @cached_property
    def _ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest number of each key."""
        found = {}
        for name in sorted({n for curve in self.curves for n in curve.values}):
            numbers = [_number(c.values[name]) for c in self.curves if name in c.values]
            found[name] = (min(numbers), max(numbers))
        return found

    @cached_property
    def _points(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Each curve's point, scaled by the ranges, and its length below 0."""
        points = np.array([self._point(curve.values) for curve in self.curves])
        return points, np.array([-len(curve.metrics) for curve in self.curves])

    def nearest(self, values: Mapping[str, Value]) -> Curve:
        """Return the curve of the nearest recorded point; of equals the longer, then the first."""
        points, lengths = self._points
        distance = np.square(points - np.array(self._point(values))).sum(axis=1)
        return self.curves[int(np.lexsort((lengths, distance))[0])]

    def _point(self, values: Mapping[str, Value]) -> list[float]:
        return [
            -1.0
            if values.get(name) is None
            else (_number(values[name]) - low) / ((high - low) or math.inf)
            for name, (low, high) in self._ranges.items()
        ]


def curves_of(study: StudySnapshot) -> CurveTable:
    """Return the gapless curves of a study's trials; `CurvesError` where there are none."""
    curves = [
        Curve(values=dict(v.values), metrics=list(v.curve.values()))
        for v in study.trials
        if v.curve and list(v.curve) == list(range(1, v.epoch + 1))
    ]
    if not curves:
        raise CurvesError(f"study {study.name!r} has no trial with an epoch yet; search first")
    return CurveTable(study=study.name, objectives=study.objectives, curves=curves)


def write_curves(table: CurveTable, path: Path) -> None:
    """Write curves as JSON."""
    with replaced(path) as temporary:
        temporary.write_text(table.model_dump_json(), encoding="utf-8")


def read_curves(path: Path) -> CurveTable:
    """Read curves that `refkd export` wrote; `CurvesError` says what is wrong with a file."""
    try:
        return CurveTable.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CurvesError(f"{path}: no such file; `refkd export STUDY` writes one") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the file"
        raise CurvesError(f"{path}: {where}: {first['msg']}; export the study again") from None


def _number(value: Value) -> float:
    if isinstance(value, str):
        return float(int.from_bytes(value.encode()[:6].ljust(6, b"\0"), "big"))
    number = float(value or 0.0)
    return math.log(number) if number > 0 and isinstance(value, float) else number
