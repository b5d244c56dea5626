"""Points of a search space as points of the unit cube, one coordinate a key."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tune.config.space import Dimension, Value, Values

Floats = NDArray[np.float64]
GRID = 256
"""Values of a key up to which points are moved to them."""


class UnitCube:
    """Equal steps along a coordinate are equal steps of its key, of its logarithm where asked.

    >>> cube = UnitCube({"rate": Dimension(float=(0.25, 4.0), log=True)})
    >>> cube.point({"rate": 1.0}).tolist()
    [0.5]
    >>> cube.values(np.array([0.5]))
    {'rate': 1.0}
    """

    def __init__(self, space: Mapping[str, Dimension]) -> None:
        self._space = space

    def point(self, values: Mapping[str, Value]) -> Floats:
        """Return the coordinates of some values; a key that is not among them is in the middle."""
        return np.array(
            [
                _coordinate(dimension, values[name]) if name in values else 0.5
                for name, dimension in self._space.items()
            ]
        )

    def values(self, point: Floats) -> Values:
        """Return a value for every key, also where its conditions do not hold."""
        return {
            name: _value(dimension, float(at))
            for (name, dimension), at in zip(self._space.items(), point, strict=True)
        }

    def snapped(self, points: Floats) -> Floats:
        """Return points (n, keys), each moved to the nearest one that the space holds."""
        moved = points.copy()
        for column, dimension in enumerate(self._space.values()):
            if (places := _places(dimension)) is not None:
                nearest = np.abs(points[:, column, None] - places).argmin(axis=1)
                moved[:, column] = places[nearest]
        return moved

    def features(self, points: Floats) -> Floats:
        """Return snapped points (n, keys) with a column for each choice: all are as far apart."""
        columns: list[Floats] = []
        for column, dimension in enumerate(self._space.values()):
            at = points[:, column]
            if dimension.choice is None:
                columns.append(at)
                continue
            count = len(dimension.choice)
            chosen = np.minimum((at * count).astype(np.int64), count - 1)
            columns.extend((chosen == place) * np.sqrt(0.5) for place in range(count))
        return np.stack(columns, axis=1)


def _places(dimension: Dimension) -> Floats | None:
    """Return the coordinates that a key can have; None where it can have any.

    Where they are more than a grid can tell apart, any will do: the value is rounded in the end.
    """
    if dimension.count is None or (dimension.choice is None and dimension.count > GRID):
        return None
    return np.array([_coordinate(dimension, value) for value in dimension.every()])


def _coordinate(dimension: Dimension, value: Value) -> float:
    if dimension.choice is not None:
        chosen = dimension.part(value, GRID)
        return 0.5 if chosen is None else (chosen + 0.5) / len(dimension.choice)
    if isinstance(value, str) or value is None:
        return 0.5
    return min(max(dimension.place(value), 0.0), 1.0)


def _value(dimension: Dimension, at: float) -> Value:
    if dimension.choice is not None:
        return dimension.choice[min(int(at * len(dimension.choice)), len(dimension.choice) - 1)]
    low, high = dimension.ends
    value = low * (high / low) ** at if dimension.log else low + at * (high - low)
    step = dimension.whole_step if dimension.int_range else dimension.step
    if step is not None:
        value = low + round((value - low) / step) * step
    value = min(max(value, low), high)
    return int(value) if dimension.int_range else float(value)
