"""Points that no trial of a study has had: what takes the place of one that is proposed again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import optuna

from refkd.scoped import log_levels
from tune.config.space import Dimension, Value, Values, every_point, suggest
from tune.study.view import ASKED, CONTINUES, FOREIGN, RETRIES, TrialView, point_key

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec

COUNTED = 1000
"""Points of a space that are counted one by one."""
TRIES = 100
"""Random points of a larger space before one is tried again."""


def tried(views: Sequence[TrialView]) -> set[str]:
    """Return the keys of the points that trials of this study have had, whatever they became."""
    return {point_key(v.values) for v in views if ASKED in v.attributes and v.state != FOREIGN}


def repeated(
    spec: SearchSpec, views: Sequence[TrialView], number: int, values: Mapping[str, Value]
) -> int:
    """Return how many trials have had a trial's values with seeds that it must not have.

    One that continues or retries another has that one's seeds.
    """
    if spec.sampler.repeat != "further_seeds":
        return 0
    attributes = views[number].attributes
    source = attributes.get(CONTINUES, attributes.get(RETRIES))
    if source is not None:
        return views[int(source)].repeats
    point = point_key(values)
    return sum(
        point_key(v.values) == point
        for v in views
        if ASKED in v.attributes and v.state != FOREIGN and not v.again
    )


def untried(
    space: Mapping[str, Dimension],
    fixed: Mapping[str, Value],
    taken: Collection[str],
    *,
    seed: int,
    number: int,
) -> Values | None:
    """Return a random point that is not taken, the same for a study's seed and a trial's number.

    None where there is none, or where none is found.
    """
    (state,) = np.random.SeedSequence([seed, number, 1]).generate_state(1)
    every = every_point(space, fixed)
    points = [] if every is None else list(islice(every, COUNTED + 1))
    if 0 < len(points) <= COUNTED:
        free = [point for point in points if point_key(point) not in taken]
        return free[np.random.default_rng(state).integers(len(free))] if free else None
    with log_levels({"optuna": logging.WARNING}):
        chance = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=int(state)))
    drawn = (suggest(space, chance.ask(), fixed) for _ in range(TRIES))
    return next((point for point in drawn if point_key(point) not in taken), None)
