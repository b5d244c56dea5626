"""Public tables of learning curves with two objectives, and how well a search does on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import moocore
import numpy as np
from numpy.typing import NDArray

from tune.config.search_spec import SearchSpec
from tune.config.space import Dimension, Value

REFERENCE = 0.3
"""Quantile of each objective over a table from which hypervolume is counted."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TableCurve:
    """One configuration's curve; every epoch takes a second."""

    names: Sequence[str]
    rows: Floats
    """(epochs, objectives)."""

    def at(self, epoch: int) -> dict[str, float]:
        """Return the objectives after an epoch."""
        return dict(zip(self.names, self.rows[epoch - 1].tolist(), strict=True))

    def seconds(self, epoch: int) -> float:
        """Return how long an epoch takes."""
        return 1.0


@dataclass(frozen=True)
class Table:
    """A problem: configurations, and what each reaches after every epoch, both maximised."""

    name: str
    parameters: Sequence[str]
    logarithmic: Sequence[bool]
    configs: Floats
    """(configurations, parameters)."""
    objectives: Sequence[str]
    curves: Floats
    """(configurations, epochs, objectives)."""

    @property
    def epochs(self) -> int:
        """Epochs of a whole training."""
        return int(self.curves.shape[1])

    @property
    def space(self) -> dict[str, Dimension]:
        """The ranges of the recorded configurations."""
        low, high = self.configs.min(axis=0), self.configs.max(axis=0)
        return {
            name: Dimension(float=(float(a), float(b)), log=log)
            for name, log, a, b in zip(self.parameters, self.logarithmic, low, high, strict=True)
        }

    @cached_property
    def _scaled(self) -> tuple[Floats, Floats, Floats]:
        """Configurations scaled to [0, 1], with the lowest and the extent before."""
        points = self._unscaled(self.configs)
        low, extent = points.min(axis=0), np.ptp(points, axis=0)
        return (points - low) / extent, low, extent

    def _unscaled(self, points: Floats) -> Floats:
        logarithmic = np.array(self.logarithmic)
        return np.where(logarithmic, np.log(np.where(logarithmic, points, 1.0)), points)

    def nearest(self, values: Mapping[str, Value]) -> TableCurve:
        """Return the curve of the nearest configuration."""
        known, low, extent = self._scaled
        point = np.array([float(values[name] or 0.0) for name in self.parameters])
        distance = np.square(known - (self._unscaled(point) - low) / extent).sum(axis=1)
        return TableCurve(self.objectives, self.curves[int(distance.argmin())])

    @cached_property
    def _reference(self) -> Floats:
        quantiles: Floats = np.quantile(self.curves.reshape(-1, 2), REFERENCE, axis=0)
        return quantiles

    @cached_property
    def whole(self) -> float:
        """Hypervolume of all that the table holds."""
        return self.volume(self.curves.reshape(-1, 2))

    def volume(self, points: Floats) -> float:
        """Return the hypervolume of points above the table's reference."""
        return float(moocore.hypervolume(points, ref=self._reference, maximise=True))

    def regret(self, points: Sequence[tuple[int, Sequence[float]]], budget: int) -> Floats:
        """Return the share of the hypervolume that is missing after each epoch of a budget.

        Each point comes with the epochs trained until it was measured.
        """
        regret = np.ones(budget + 1)
        front = np.empty((0, 2))
        missing, done = 1.0, 0
        for spent, values in points:
            if spent > budget:
                break
            regret[done:spent] = missing
            done = spent
            point = np.array(values)
            if (point > self._reference).all() and not (front >= point).all(axis=1).any():
                front = np.vstack([front[(front > point).any(axis=1)], point])
                missing = 1.0 - self.volume(front) / self.whole
        regret[done:] = missing
        return regret[1:]


def read_table(path: Path) -> Table:
    """Return the table of a file: `configs`, `names`, `scales`, `objectives` and `curves`."""
    with np.load(path, allow_pickle=False) as held:
        return Table(
            name=path.stem,
            parameters=held["names"].tolist(),
            logarithmic=[scale == "log" for scale in held["scales"].tolist()],
            configs=held["configs"].astype(np.float64),
            objectives=held["objectives"].tolist(),
            curves=held["curves"].astype(np.float64),
        )


def spec_of(table: Table, *, seed: int, trainings: int, **settings: object) -> SearchSpec:
    """Return the search of a table's space, with a budget of so many whole trainings."""
    epochs = table.epochs
    content: dict[str, object] = {
        "name": table.name,
        "space": table.space,
        "objectives": list(table.objectives),
        "epochs": epochs,
        "budget": {"trials": trainings * epochs, "epochs": trainings * epochs},
        "seed": seed,
        **settings,
    }
    return SearchSpec.model_validate(content)
