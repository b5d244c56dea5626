"""A training that is made up as a function of its values, for searches whose truth is known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from refkd.seeds import generator
from tune.config.search_spec import SearchSpec
from tune.config.space import Dimension, Value
from tune.simulation.simulator import simulate_search
from tune.study.view import TrialView

OBJECTIVES = ("val_id/miou", "val_ood/miou")
SPACE = {
    "rate": {"float": [1e-4, 1e-1], "log": True},
    "weight": {"float": [0.5, 4.0]},
    "warmup": {"int": [1, 9]},
    "kind": {"choice": ["a", "b", "c"]},
}
"""Each key matters in a world that names no other."""
GOALS = {
    "rate": (0.6, 0.45),
    "weight": (0.4, 0.65),
    "warmup": (0.5, 0.3),
}
"""Where in its range a number is best for each objective."""


@dataclass(frozen=True, kw_only=True)
class MadeWorld:
    """Curves whose ends fall off with the distance of each value from its goal."""

    epochs: int = 12
    goals: Mapping[str, tuple[float, float]] = field(default_factory=lambda: GOALS)
    noise: float = 0.5
    """Standard deviation of a metric from epoch to epoch, where trials differ by about 5."""
    space: Mapping[str, Any] = field(default_factory=lambda: SPACE)
    seed: int = 0

    def spec(self, **settings: Any) -> SearchSpec:
        """Return a search of this world."""
        given = {"name": "made", "epochs": self.epochs, "objectives": list(OBJECTIVES)}
        return SearchSpec.model_validate(
            {**given, "space": dict(self.space), "seed": self.seed, **settings}
        )

    def search(self, **settings: Any) -> tuple[SearchSpec, list[TrialView]]:
        """Search to the end; return what was asked, and the trials."""
        spec = self.spec(**settings)
        return spec, simulate_search(spec, self).study.views()

    def nearest(self, values: Mapping[str, Value]) -> MadeCurve:
        """Return the curve of a point."""
        return MadeCurve(world=self, values=values)

    def end(self, values: Mapping[str, Value], objective: int) -> float:
        """Return what a point comes to without noise."""
        lost = 2.0 * (values.get("kind") == "b")
        for key, goals in self.goals.items():
            if isinstance(value := values.get(key), int | float):
                where = Dimension.model_validate(self.space[key]).place(value)
                lost += 24.0 * (where - goals[objective]) ** 2
        return 40.0 - lost


@dataclass(frozen=True, kw_only=True)
class MadeCurve:
    """One training."""

    world: MadeWorld
    values: Mapping[str, Value]

    def at(self, epoch: int) -> dict[str, float]:
        """Return the metrics of an epoch."""
        name = json.dumps(dict(self.values), sort_keys=True)
        draw = generator("made", self.world.seed, name, epoch)
        grown = 1 - math.exp(-4 * epoch / self.world.epochs)
        return {
            metric: grown * self.world.end(self.values, place)
            + float(draw.normal(0, self.world.noise))
            for place, metric in enumerate(OBJECTIVES)
        }

    def seconds(self, epoch: int) -> float:
        """Return how long an epoch takes."""
        return 1.0
