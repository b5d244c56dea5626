"""A sampler that begins near values which are believed to be good, and trusts them less and less.

A share of the proposals is drawn around the values (as PriorBand does, Mallik et al. 2023; of
several points, around one of them drawn at random), the others come from the sampler itself, which
learns from all. The share fades with the number of trials, so that a wrong belief costs a few of
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler

from refkd.errors import RefKDError
from tune.study.unit_cube import UnitCube

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

    from tune.config.search_spec import SearchSpec
    from tune.config.space import Dimension, Value, Values

FIRST, HALF = 0.5, 10
"""Share of the first proposals that lie near the values; trials after which it is half of that."""
WIDTH = 0.1
"""Deviation of a key from its value, as a share of its range."""
CHOSEN = 0.75
"""Probability of a choice that is given; else any is drawn."""


class PriorSampler(BaseSampler):
    """Proposes the values of one trial, near the prior of a search or by another sampler."""

    def __init__(self, spec: SearchSpec, other: BaseSampler, *, seed: int) -> None:
        self._spec, self._other = spec, other
        prior = spec.sampler.prior
        self._points = [prior] if isinstance(prior, dict) else prior.points
        if not self._points:
            raise RefKDError("sampler.prior names a study that was not read as the search began")
        self._cube = UnitCube(spec.space)
        self._random = np.random.default_rng([seed, 1])
        self._near = False

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Decide who proposes."""
        self._near = self._random.random() < share(trial.number)
        self._other.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the keys that are proposed together."""
        if self._near:
            return {name: one.distribution() for name, one in self._spec.space.items()}
        return self._other.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return their values."""
        if self._near:
            return dict(self._cube.values(self._drawn()))
        return self._other.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a value of the other sampler's."""
        return self._other.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Let the other sampler note the end of a trial."""
        self._other.after_trial(study, trial, state, values)

    def _drawn(self) -> NDArray[np.float64]:
        """Return a point of the unit cube near the prior; keys that it lacks are random."""
        space, cube, random = self._spec.space, self._cube, self._random
        chosen = 0 if len(self._points) == 1 else random.integers(len(self._points))
        prior = inside(space, self._points[chosen])
        middle, point = cube.point(prior), random.random(len(space))
        for column, (name, dimension) in enumerate(space.items()):
            if name not in prior:
                continue
            if dimension.choice is None:
                moved = abs(middle[column] + random.normal(scale=WIDTH))
                point[column] = min(moved, 2.0 - moved)
            elif random.random() < CHOSEN:
                point[column] = middle[column]
        return np.asarray(cube.snapped(point[None])[0], dtype=np.float64)


def inside(space: Mapping[str, Dimension], values: Mapping[str, Value]) -> Values:
    """Return the values of the keys of a space whose range holds them."""
    return {
        name: values[name]
        for name, dimension in space.items()
        if name in values and dimension.contains(values[name])
    }


def share(number: int) -> float:
    """Return the probability that a trial lies near the prior.

    >>> share(0), share(10), round(share(90), 2)
    (0.5, 0.25, 0.05)
    """
    return FIRST * HALF / (HALF + number)
