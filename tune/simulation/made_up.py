"""Training curves of a made-up problem over a study's own space, for plans without any known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkd.seeds import generator
from tune.config.space import Value
from tune.simulation.curves import Curve
from tune.study.racing import pack

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec

TOP, FALL = 50.0, 6.0
"""What an objective reaches at its best point, and how far below a point is on average."""
NOISE = (0.1, 1.0)
"""Deviation from epoch to epoch over that of the ends, of which each problem has one between."""
APART = (0.1, 1.0)
"""How far the best point of an objective may lie from a common one, as a share of each range; of
it each problem has one between, so that objectives go from nearly one to a conflict."""

PAIRS, OWN = 100, 0.5
"""Validation pairs of a role, each of a video of its own, and what a pair adds to a trial beside
what it adds to all: deviation over the mean, as simulated students have at rungs."""


def pairs_around(value: float) -> str:
    """Return pairs with a mean as `tune.study.racing.pack` does; equal means have equal pairs."""
    noise = generator("pairs", repr(abs(value))).normal(scale=OWN, size=PAIRS)
    return pack(value * (1 + noise - noise.mean()), [f"{n:03d}" for n in range(PAIRS)])


class MadeUp:
    """One problem, drawn by a seed: curves that saturate, the better the nearer a best point.

    As in real searches a few ranges matter most, each objective has a best point of its own,
    early epochs say only roughly what the last will, since points differ in how fast they learn,
    and each epoch has noise.
    """

    def __init__(self, spec: SearchSpec, *, seconds: float, seed: int) -> None:
        """`seconds` is what an epoch of one student takes."""
        self._spec, self._seed = spec, seed
        self._seconds = seconds * spec.replicates.race
        draw = generator("made up", seed)
        count = len(spec.space)
        conflict, noise = np.modf((seed + 0.5) * np.sqrt([5.0, 2.0]))[0]  # even over a few seeds
        common, apart = draw.uniform(0.2, 0.8, size=count), np.interp(conflict, [0, 1], APART)
        self._best = common + draw.uniform(-apart, apart, size=(len(spec.objectives), count))
        self._weights, self._speed, self._size = draw.dirichlet(np.ones(count), size=3)
        self._noise = math.exp(np.interp(noise, [0, 1], np.log(NOISE)))
        self._places = {
            name: draw.permutation(np.linspace(0, 1, len(dimension.choice)))
            for name, dimension in spec.space.items()
            if dimension.choice
        }

    def nearest(self, values: Mapping[str, Value]) -> Curve:
        """Return the curve of a point; the same each time."""
        spec = self._spec
        point = np.array([self._place(name, values.get(name)) for name in spec.space])
        # 1/12 is the mean square of a distance from the middle of a range.
        losses = 12 * np.square(point - self._best) @ self._weights
        rate = 4 * math.exp(2 * point @ self._speed - 1)
        epochs = np.arange(1, spec.epochs + 1)
        grown = 1 - np.exp(-rate * epochs / spec.epochs)
        noise = generator("noise", self._seed, repr(sorted(values.items()))).normal(
            scale=self._noise * FALL / 2, size=(spec.epochs, len(losses))
        )
        scores = np.multiply.outer(grown, TOP - FALL * losses) + noise
        walls = epochs * self._seconds * self._pace(point)
        metrics = [
            {
                **dict(zip(spec.objectives, (np.array(spec.signs) * row).tolist(), strict=True)),
                "cost/cpu_seconds": float(wall) * spec.resources.cpu,
                "cost/wall_seconds": float(wall),
            }
            for row, wall in zip(scores, walls, strict=True)
        ]
        return Curve(values=dict(values), metrics=metrics)

    def _place(self, name: str, value: Value) -> float:
        """Return where a value lies in its range, from 0 to 1; the middle for one out of use."""
        if name in self._places:
            options = self._spec.space[name].choice or []
            return float(self._places[name][options.index(value)]) if value in options else 0.5
        return 0.5 if value is None else self._spec.space[name].place(value)

    def _pace(self, point: NDArray[np.float64]) -> float:
        """Return how much longer an epoch takes than on average: where costs are objectives."""
        if not any(name.startswith("cost/") for name in self._spec.objectives):
            return 1.0
        return math.exp(0.5 * (2 * float(point @ self._size) - 1))
