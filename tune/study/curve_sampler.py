"""A sampler that learns from curves as far as they go, those of paused and pruned trials too.

Each proposal draws one function of all that fit what was measured (Thompson sampling, Thompson
1933), and takes, of some points, the one whose drawn end adds most to the front. Running trials
need no care of their own: the next draw is another function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from scipy.stats import norm, rankdata
from threadpoolctl import ThreadpoolController

from tune.study import pruners
from tune.study.curve_model import CurveModel
from tune.study.rungs import Rungs
from tune.study.unit_cube import UnitCube
from tune.study.view import EPOCH, TrialView, key_of, view

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from tune.config.search_spec import SearchSpec

Floats = NDArray[np.float64]
CHANCE = 0.1
"""Share of the proposals that are random, so that no model can keep a search from anything."""
SPREAD, NEAR, BEST = 200, 60, 10
"""Points that are weighed, of the whole space and near the best trials; how many these are."""
REACH = 0.15
"""How far a key of a near point lies from the trial's, as a share of its range."""
REFERENCE = 0.3
"""Quantile of each objective from which hypervolume is counted."""
APART, LEAST = 0.7, 20
"""How far a point lies from all that were tried, in distances of a grid of as many points, and
how many points are weighed although they are closer: where trials are few, what lies between two
that are known teaches less than what does not."""
MOST = 500
"""Measurements that a model is made of; where there are more, each is the last of its trial."""


@cache
def _libraries() -> ThreadpoolController:
    """Return who starts threads in this process; the search for them takes milliseconds."""
    return ThreadpoolController()


class CurveSampler(BaseSampler):
    """Proposes the values of one trial."""

    def __init__(self, spec: SearchSpec, *, startup: int, seed: int) -> None:
        """The first `startup` trials are random."""
        self._spec = spec
        self._cube = UnitCube(spec.space)
        self._startup = startup
        self._random = np.random.default_rng(seed)
        pruning = spec.pruning
        below = pruners.rungs(
            min_epochs=pruning.min_epochs, reduction=pruning.reduction, max_epochs=spec.epochs
        )
        self._epochs = [*below, spec.epochs]
        self._rungs = None if pruning.resource == "epochs" else Rungs(spec)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all keys: the values of those whose conditions fail are not asked for."""
        return {name: one.distribution() for name, one in self._spec.space.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for every key, the same on a machine with more cores or fewer.

        One thread is also the quickest where other processes keep the cores busy.
        """
        with _libraries().limit(limits=1, user_api="blas"):
            return dict(self._cube.values(self._proposed(study, trial.number)))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value, of a key that is none of the space."""
        from optuna.samplers import RandomSampler

        chance = RandomSampler(seed=int(self._random.integers(1 << 32)))
        return chance.sample_independent(study, trial, param_name, param_distribution)

    def _proposed(self, study: Study, number: int) -> Floats:
        """Return a point of the unit cube."""
        chance: Floats = self._cube.snapped(self._random.random((1, len(self._spec.space))))[0]
        known = [t for t in study.get_trials(deepcopy=False) if t.number != number and t.params]
        if len(known) < self._startup or self._random.random() < CHANCE:
            return chance
        tried = np.stack([self._cube.point(trial.params) for trial in known])
        rows, shares, values = self._measured(known)
        if len(set(rows)) < 2:
            return chance
        asked = self._candidates(tried, rows, values)
        asked = asked[_apart(self._cube.features(asked), self._cube.features(tried))]
        gains = self._gains(tried, rows, shares, values, asked)
        best: Floats = asked[int(gains.argmax())]
        return best

    def _measured(self, known: Sequence[FrozenTrial]) -> tuple[list[int], Floats, Floats]:
        """Return row of the trial, epoch and gains of each measurement at a rung or at the end.

        Epochs are shares of the whole training's logarithm. A trial that missed a constraint is as
        bad as the worst, whatever it measured.
        """
        names, signs = self._spec.objectives, self._spec.signs
        rows, epochs, gains, missed = [], [], [], []
        for row, trial in enumerate(known):
            seen = view(trial)
            feasible = seen.feasible
            for epoch in self._epochs_of(seen) if trial.state.name != "FAIL" else ():
                held: Mapping[str, float] = trial.user_attrs.get(key_of(EPOCH, epoch), {})
                if all(name in held for name in names):
                    rows.append(row)
                    epochs.append(epoch)
                    gains.append([s * held[n] for n, s in zip(names, signs, strict=True)])
                    missed.append(not feasible)
        whole = np.log(max(self._spec.epochs, 2))
        values = np.array(gains, dtype=np.float64)
        values[np.array(missed, dtype=bool)] = values.min(axis=0, initial=np.inf)
        return rows, np.log(epochs) / whole, values

    def _epochs_of(self, trial: TrialView) -> Iterable[int]:
        """Return the epochs of a trial that are learned from."""
        if self._rungs is None:
            return self._epochs
        return dict.fromkeys([*self._rungs.reached(trial).values(), self._spec.epochs])

    def _candidates(self, tried: Floats, rows: Sequence[int], values: Floats) -> Floats:
        """Return points of the whole space, then points near the best trials."""
        random, keys = self._random, tried.shape[1]
        order = np.argsort(moocore.pareto_rank(values, maximise=True), kind="stable")[:BEST]
        best = np.unique(np.array(rows)[order])
        steps = REACH * np.exp(random.normal(size=(NEAR, 1)) / 2)
        moves = random.normal(size=(NEAR, keys)) * steps * (random.random((NEAR, keys)) < 0.5)
        near = np.abs(tried[random.choice(best, NEAR)] + moves)
        near = np.clip(np.where(near > 1.0, 2.0 - near, near), 0.0, 1.0)
        return self._cube.snapped(np.concatenate([random.random((SPREAD, keys)), near]))

    def _gains(
        self, tried: Floats, rows: Sequence[int], shares: Floats, values: Floats, asked: Floats
    ) -> Floats:
        """Return what each point's end would add to the front, by one function that fits.

        Objectives count by the normal quantiles of their ranks, which no outlier can bend.
        """
        scores = np.stack(
            [norm.ppf((rankdata(column) - 0.5) / len(column)) for column in values.T], axis=1
        )
        features, kept = self._cube.features, self._kept(rows)
        inputs = np.c_[features(tried[np.array(rows)[kept]]), shares[kept]]
        model = CurveModel(inputs, scores[kept], self._random)
        ends = model.draw(np.c_[features(asked), np.ones(len(asked))], self._random)
        reference = np.quantile(scores, REFERENCE, axis=0)
        front = scores[moocore.is_nondominated(scores, maximise=True)]
        gains = improvements(front, ends, reference)
        if gains.max() > 0:
            return gains
        weights = self._random.dirichlet(np.ones(scores.shape[1]))
        return np.asarray(((ends - reference) * weights).min(axis=1), dtype=np.float64)

    def _kept(self, rows: Sequence[int]) -> NDArray[np.intp]:
        """Return the measurements, given the trial of each, that the model is made of."""
        if len(rows) <= MOST:
            return np.arange(len(rows))
        last = np.flatnonzero(np.diff(rows, append=-1))
        return np.sort(self._random.choice(last, min(len(last), MOST), replace=False))


def improvements(front: Floats, points: Floats, reference: Floats) -> Floats:
    """Return the hypervolume above a reference that each point alone would add to a front."""
    volume: Callable[[Floats], float] = moocore.Hypervolume(ref=reference, maximise=True)
    before = volume(front)
    gains = np.zeros(len(points))
    ahead = np.array([not (front >= point).all(axis=1).any() for point in points])
    for row in np.flatnonzero(ahead & (points > reference).all(axis=1)):
        gains[row] = volume(np.vstack([front, points[row]])) - before
    return gains


def _apart(asked: Floats, tried: Floats) -> NDArray[np.intp]:
    """Return the rows that are not close to any that was tried."""
    squares = np.square(asked).sum(axis=1)[:, None] + np.square(tried).sum(axis=1)
    nearest = np.sqrt(np.maximum(squares - 2.0 * asked @ tried.T, 0.0)).min(axis=1)
    far = np.flatnonzero(nearest > APART * len(tried) ** (-1.0 / tried.shape[1]))
    return far if len(far) >= LEAST else np.argsort(-nearest, kind="stable")[:LEAST]
