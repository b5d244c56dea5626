"""Samplers whose proposals depend on (study seed, trial number) and on what they see, only."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from tune import compat
from tune.study.curve_sampler import CurveSampler
from tune.study.hub import hub_sampler
from tune.study.prior_sampler import PriorSampler

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.config.settings import Sampler


def _inner(method: str) -> Any:
    """Return a method that calls the same one of the sampler of this trial."""
    return lambda self, study, *more: getattr(self.of_trial, method)(self.seen or study, *more)


class PerTrialSampler(BaseSampler):
    """Makes its sampler anew for each trial, so that a restart changes no proposal."""

    infer_relative_search_space = _inner("infer_relative_search_space")
    sample_relative = _inner("sample_relative")
    sample_independent = _inner("sample_independent")
    after_trial = _inner("after_trial")

    def __init__(
        self,
        make: Callable[[int, int], BaseSampler],
        *,
        seed: int,
        seen: Callable[[], Study] | None = None,
    ) -> None:
        """`make` gets the seed of a trial and its number.

        `seen` returns the study as proposals may see it; None lets them see all of it.
        """
        self._make = make
        self._seed = seed
        self._look = seen
        self.seen: Study | None = None
        """What the sampler of this trial sees of the study, where that is not all."""
        self.of_trial: BaseSampler = RandomSampler(seed=seed)
        """The sampler of the trial that was asked for last."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed for this trial."""
        words = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
        with warnings.catch_warnings():  # some are experimental, as the documentation says
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.of_trial = self._make(int(words[0]), trial.number)
        self.seen = None if self._look is None else self._look()
        self.of_trial.before_trial(self.seen or study, trial)


def _genetic(
    kind: type[NSGAIISampler] | type[NSGAIIISampler], *, seed: int, population: int
) -> BaseSampler:
    """Return a sampler that proposes the same whether or not its parents were chosen before.

    Optuna stores the parents of a generation when they are chosen, which may draw random numbers,
    and returns them in another order from then on: a trial that was killed between the choice and
    its first value would have other values once it is asked for again.
    """
    chooser = kind(seed=seed, population_size=population)

    def parents(_: BaseSampler, study: Study, generation: int) -> list[FrozenTrial]:
        chosen = chooser.get_parent_population(study, generation)
        return sorted(chosen, key=lambda trial: trial.number)

    # Optuna stores generations under the name of the class.
    ordered = type(kind.__name__, (kind,), {"get_parent_population": parents})
    sampler: BaseSampler = ordered(seed=seed, population_size=population)
    return sampler


def make_sampler(
    config: Sampler,
    *,
    seed: int,
    seen: Callable[[], Study] | None = None,
    spec: SearchSpec | None = None,
) -> PerTrialSampler:
    """Return the sampler that a study file names; `seen` as in `PerTrialSampler`.

    `curves` and a prior need the `spec` of the search.
    """
    startup, population = config.startup_trials, config.population
    makers: dict[str, Callable[[int, int], BaseSampler]] = {
        "tpe": lambda s, _: TPESampler(
            seed=s,
            n_startup_trials=startup,
            multivariate=config.multivariate,
            constant_liar=config.constant_liar,
        ),
        "nsga2": lambda s, _: _genetic(NSGAIISampler, seed=s, population=population),
        "nsga3": lambda s, _: _genetic(NSGAIIISampler, seed=s, population=population),
        "gp": lambda s, _: GPSampler(
            seed=s, n_startup_trials=startup, deterministic_objective=False
        ),
        # Its points are one sequence, of which each trial takes its own: the seed is the study's.
        "qmc": lambda s, number: compat.qmc_sampler(seed=seed, place=number - 1, apart=s),
        "random": lambda s, _: RandomSampler(seed=s),
        "hub": lambda s, _: hub_sampler(config, seed=s),
    }
    if spec is not None:
        makers["curves"] = lambda s, _: CurveSampler(spec, startup=startup, seed=s)
    make = makers[config.name]
    if spec is not None and config.prior:
        return PerTrialSampler(
            lambda s, n: PriorSampler(spec, make(s, n), seed=s), seed=seed, seen=seen
        )
    return PerTrialSampler(make, seed=seed, seen=seen)
