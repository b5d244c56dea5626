"""What every sampler and every pruner keeps to that a study file can name, and what it is worth.

The names are those that the settings take, so that a new one is tested as it is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from optuna.storages import InMemoryStorage
from scipy.stats.qmc import discrepancy
from support.recorded_curves import EPOCHS, KILLS, run
from support.search_methods import (
    FOR_MANY,
    MIXED,
    PRUNERS,
    PRUNINGS,
    SAMPLERS,
    mixed,
    pruned,
    short,
)

from tune.audit.replay import replay
from tune.config.search_spec import SearchSpec
from tune.config.space import Value, misfit
from tune.config.study_file import StudyFileError, load_study_file
from tune.simulation.made_up import MadeUp
from tune.simulation.simulator import Simulated, World, simulate_search
from tune.study.ranking import hypervolume
from tune.study.search_study import SearchStudy

BOTH = ["val_id/miou", "val_ood/miou"]
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
METHODS: list[dict[str, Any]] = [
    *map(short, SAMPLERS),
    *(pruned(pruning, BOTH) for pruning in PRUNINGS),
    {"objectives": BOTH[:1]},
    {"objectives": BOTH[:1], "pruning": {"type": "promote"}},
    {"constraints": [{"metric": BOTH[0], "at_least": 30.0}]},
]
every_method = pytest.mark.parametrize("settings", METHODS, ids=str)


def searched(spec: SearchSpec) -> Simulated:
    return simulate_search(spec, MadeUp(spec, seconds=1.0, seed=0))


def told(result: Simulated) -> list[Any]:
    return [(v.values, v.state, sorted(v.curve), v.gains) for v in result.study.views()]


# A proposal -----------------------------------------------------------------------------------


@every_sampler
@pytest.mark.parametrize("objectives", [["score"], ["score", "loss"]], ids=len)
def test_a_proposal_lies_in_the_space_and_follows_from_seed_number_and_history(
    sampler: str, objectives: list[str]
) -> None:
    minimize = objectives[1:]
    settings = {"objectives": objectives, "minimize": minimize, "pruning": {"name": "none"}}
    spec = mixed(**{**settings, "epochs": 1, "budget": {"trials": 16}, **short(sampler)})
    first = searched(spec)
    proposals = [view.values for view in first.study.views()]
    for values in proposals:
        assert misfit(spec.space, values) is None
        assert set(MIXED) - set(values) == ({"depth"} if values["net"] != "large" else set())
    for name in MIXED:
        assert len({values[name] for values in proposals if name in values}) > 1, name
    assert replay(first.study.optuna).differences == []
    assert told(searched(spec)) == told(first)
    assert told(searched(spec.model_copy(update={"seed": 1}))) != told(first)


class Deadly(InMemoryStorage):
    """Kills the driver once a trial after each kind of write that a sampler's proposal does."""

    def __init__(self) -> None:
        super().__init__()
        self._killed: set[object] = set()

    def _kill(self, *once: object) -> None:
        if once not in self._killed:
            self._killed.add(once)
            raise KeyboardInterrupt

    def set_trial_param(self, trial_id: int, *more: Any) -> None:
        super().set_trial_param(trial_id, *more)
        self._kill("value", trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        self._kill("trial", trial_id)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_system_attr(study_id, key, value)
        self._kill("study", key)


def searched_alone(spec: SearchSpec, storage: InMemoryStorage) -> SearchStudy:
    """Search by one worker, and go on after each kill."""
    problem = MadeUp(spec, seconds=1.0, seed=0)
    while True:
        try:
            study = SearchStudy(spec, storage)
            study.begin_launch()
            while (ask := study.ask()) is not None:
                metrics = problem.nearest(ask.values).at(1)
                study.record(ask.number, 1, metrics)
                study.end(ask.number, metrics)
            return study
        except KeyboardInterrupt:
            continue


@every_sampler
@pytest.mark.parametrize("objectives", [["score"], ["score", "loss"]], ids=len)
def test_kills_in_the_midst_of_each_proposal_change_none(
    sampler: str, objectives: list[str]
) -> None:
    settings = {"objectives": objectives, "minimize": objectives[1:], "budget": {"trials": 14}}
    spec = mixed(**{**settings, "epochs": 1, "workers": 1, **short(sampler)})
    calm = searched_alone(spec, InMemoryStorage())
    killed = searched_alone(spec, Deadly())
    assert len(killed.launches.all()) > len(calm.views())
    assert [v.values for v in killed.views()] == [v.values for v in calm.views()]
    assert replay(killed.optuna).differences == []


# A search -------------------------------------------------------------------------------------


@every_method
def test_a_killed_parallel_search_ends_each_trial_once_and_is_replayed(
    settings: dict[str, Any],
) -> None:
    result = run(KILLS, **settings)
    views = result.study.views()
    assert len(views) == result.spec.budget.trials
    assert {"COMPLETE"} <= {v.state for v in views} <= {"COMPLETE", "PRUNED"}
    for view in views:
        assert list(view.curve) == list(range(1, view.epoch + 1))
        assert view.state != "COMPLETE" or view.epoch == EPOCHS
    again = replay(result.study.optuna)
    assert again.differences == []
    assert again.suggestions == len(views)
    assert (again.decisions > 0) == (result.spec.pruning.name != "none")


@every_method
def test_with_one_worker_kills_change_nothing(settings: dict[str, Any]) -> None:
    calm = run(**settings, workers=1)
    killed = run(World(kills=KILLS.kills), **settings, workers=1)
    for a, b in zip(calm.study.views(), killed.study.views(), strict=True):
        assert (a.values, a.state, a.curve, a.objectives) == (
            b.values,
            b.state,
            b.curve,
            b.objectives,
        )


@pytest.mark.parametrize(
    "settings",
    [*map(short, SAMPLERS), *(pruned(pruning, ["score", "loss"]) for pruning in PRUNINGS)],
    ids=str,
)
def test_to_minimise_is_to_maximise_what_is_negated(settings: dict[str, Any]) -> None:
    names = settings.get("objectives", ["score", "loss"])
    one, other = (
        searched(mixed(**{**settings, "minimize": minimize})) for minimize in ([], names[-1:])
    )
    assert told(one) == told(other)
    assert replay(other.study.optuna).differences == []


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_pruner_takes_both_objectives_or_is_refused_in_a_line(
    pruner: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    content = {
        "name": "two",
        "dataset": "nowhere",
        "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
        "pruning": {"name": pruner},
    }
    path.write_text(yaml.safe_dump(content), "utf-8")
    if pruner in FOR_MANY:
        assert load_study_file(path).pruning.name == pruner
        return
    with pytest.raises(StudyFileError) as refused:
        load_study_file(path)
    (line,) = str(refused.value).splitlines()
    assert f"{pruner} knows one objective only, the study has 2; use pareto_halving or" in line
    path.write_text(yaml.safe_dump({**content, "objectives": BOTH[:1]}), "utf-8")
    assert load_study_file(path).pruning.name == pruner


# What it is worth -----------------------------------------------------------------------------

BEST = np.array([[0.3, 0.7, 0.6, 0.2, 0.5, 0.8], [0.5, 0.4, 0.6, 0.3, 0.5, 0.7]])
WEIGHTS = np.array([1.0, 0.8, 0.6, 0.5, 0.4, 0.3])
KEYS = [f"x{place}" for place in range(len(WEIGHTS))]


@dataclass(frozen=True)
class Bowls:
    """Two smooth objectives of six parameters, the first of which matter most; 1 is the best.

    Curves saturate and never cross, so that an early epoch tells which is the better.
    """

    epochs: int

    def nearest(self, values: Mapping[str, Value]) -> Saturating:
        point = np.array([float(values[key] or 0.0) for key in KEYS])
        ends = 1 - np.square(point - BEST) @ WEIGHTS
        return Saturating(dict(zip("ab", ends.tolist(), strict=True)), self.epochs)


@dataclass(frozen=True)
class Saturating:
    """A curve to its ends."""

    ends: dict[str, float]
    epochs: int

    def at(self, epoch: int) -> dict[str, float]:
        grown = math.expm1(-3 * epoch / self.epochs) / math.expm1(-3)
        return {name: grown * end for name, end in self.ends.items()}

    def seconds(self, epoch: int) -> float:
        return 1.0


def on_bowls(objectives: str, epochs: int, **settings: Any) -> Simulated:
    content = {
        "name": "bowls",
        "space": {key: {"float": [0.0, 1.0]} for key in KEYS},
        "objectives": list(objectives),
        "epochs": epochs,
        **settings,
    }
    return simulate_search(SearchSpec.model_validate(content), Bowls(epochs))


def volume(points: np.ndarray) -> float:
    return hypervolume(np.maximum(points, 0.0).tolist())


def regret(result: Simulated) -> float:
    """Return what is missing to the best value; of two objectives, to the whole hypervolume."""
    found = np.array([values for _, values in result.ends])
    if found.shape[1] == 1:
        return 1 - float(found.max())
    between = np.linspace(BEST[0], BEST[1], 200)  # with the same weights in both, all of the front
    return volume(1 - np.square(between[:, None] - BEST) @ WEIGHTS) - volume(found)


@cache
def sampled_regret(sampler: str, objectives: str, trials: int, seed: int) -> float:
    chosen = {"name": sampler, "startup_trials": 6, "population": 10}
    settings = {"sampler": chosen, "pruning": {"name": "none"}, "workers": 1, "seed": seed}
    return regret(on_bowls(objectives, 1, budget={"trials": trials}, **settings))


@pytest.mark.parametrize(
    "sampler", [name for name in SAMPLERS if name not in ("random", "qmc", "hub")]
)
@pytest.mark.parametrize("objectives", ["a", "ab"])
def test_a_sampler_that_learns_finds_more_than_chance(sampler: str, objectives: str) -> None:
    """Half of the regret is a wide margin for a few seeds: where it must win it needs less.

    `curves` keeps away from what was tried, as suits a search of few trials, and lives on curves,
    which these points have not.
    """
    trials, seeds = (16, 2) if sampler == "gp" else (100, 3)
    ratios = [
        sampled_regret(sampler, objectives, trials, seed)
        / sampled_regret("random", objectives, trials, seed)
        for seed in range(seeds)
    ]
    assert np.exp(np.mean(np.log(ratios))) < (0.8 if sampler == "curves" else 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_quasi_random_sequence_covers_the_space_better_than_chance(seed: int) -> None:
    gaps = {}
    for sampler in ("qmc", "random"):
        settings = {"sampler": {"name": sampler}, "pruning": {"name": "none"}, "seed": seed}
        views = on_bowls("a", 1, budget={"trials": 64}, **settings).study.views()
        points = [[float(view.values[key] or 0.0) for key in KEYS] for view in views]
        gaps[sampler] = discrepancy(points)
    assert gaps["qmc"] < 0.5 * gaps["random"]


PRUNE = [pruned(pruning, ["a", "b"]) for pruning in PRUNINGS if pruning != {"name": "none"}]


def chosen_by(settings: dict[str, Any], seed: int, **budget: int) -> Simulated:
    chance = {"sampler": {"name": "random"}, "workers": 3, "seed": seed, "budget": budget}
    names = "".join(settings["objectives"])
    return on_bowls(names, 9, pruning=settings["pruning"], **chance)


@pytest.mark.parametrize("settings", PRUNE, ids=str)
def test_a_pruner_saves_epochs_and_keeps_the_best(settings: dict[str, Any]) -> None:
    """Of one objective it keeps the best trial itself, of two nearly the whole front."""
    saved, kept = [], []
    for seed in range(2):
        whole = chosen_by({**settings, "pruning": {"name": "none"}}, seed, trials=30)
        part = chosen_by(settings, seed, trials=30)
        saved.append(part.epochs / whole.epochs)
        kept.append(regret(part) / regret(whole))
    assert max(saved) < 0.75
    assert np.mean(kept) <= (1.0 if len(settings["objectives"]) == 1 else 1.1)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(one, marks=pytest.mark.nightly if len(one["objectives"]) == 1 else [])
        for one in PRUNE
    ],
    ids=str,
)
def test_what_a_pruner_saves_buys_a_better_search(settings: dict[str, Any]) -> None:
    ratios = []
    for seed in range(5):
        whole = chosen_by({**settings, "pruning": {"name": "none"}}, seed, trials=36)
        same = chosen_by(settings, seed, trials=1000, epochs=whole.epochs)
        ratios.append(regret(same) / regret(whole))
    assert np.exp(np.mean(np.log(ratios))) < 0.95
