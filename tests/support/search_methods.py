"""Every sampler and every pruner that a study file takes, and a space of every kind of range."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from support.shared import made_once

from tune.config.search_spec import SearchSpec
from tune.config.settings import OWN, Pruning, Sampler

SAMPLERS: tuple[str, ...] = get_args(Sampler.model_fields["name"].annotation)
PRUNERS: tuple[str, ...] = get_args(Pruning.model_fields["name"].annotation)
FOR_MANY = (*OWN, "none")
"""The pruners that take several objectives."""


NEAR_BEST = """
from __future__ import annotations

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import TrialState


class NearBestSampler(BaseSampler):
    def __init__(self, keep: float = 0.5, *, seed: int | None = None) -> None:
        self._keep, self._chance = keep, RandomSampler(seed=seed)
        self._random = np.random.default_rng(seed)

    def infer_relative_search_space(self, study, trial):
        return IntersectionSearchSpace().calculate(study)

    def sample_relative(self, study, trial, search_space):
        signs = [1.0 if d.name == "MAXIMIZE" else -1.0 for d in study.directions]
        ended = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if not ended:
            return {}
        best = max(ended, key=lambda t: float(np.dot(signs, t.values)))
        return {
            name: best.params[name]
            if self._random.random() < self._keep
            else self._chance.sample_independent(study, trial, name, one)
            for name, one in search_space.items()
        }

    def sample_independent(self, study, trial, name, one):
        return self._chance.sample_independent(study, trial, name, one)
"""
"""A sampler as packages of OptunaHub have one: a key is that of the best trial, or random."""


def write_registry(folder: Path, packages: Mapping[str, str]) -> str:
    """Write a registry of packages, each of one module, and return its only commit."""
    for name, text in packages.items():
        package = folder / "package" / name
        package.mkdir(parents=True)
        (package / "_sampler.py").write_text(text, encoding="utf-8")
        (package / "__init__.py").write_text("from ._sampler import *\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Packages")
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *words: str) -> str:
    """Run git as somebody, at a time that is always the same."""
    own = {"NAME": "a", "EMAIL": "a@example.org", "DATE": "2020-01-01T00:00:00Z"}
    known = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in own.items()}
    command = ["git", "-C", str(folder), *words]
    return subprocess.check_output(command, text=True, env={**os.environ, **known}).strip()


def hub(**changes: Any) -> dict[str, Any]:
    """Return settings of a sampler of a registry that is made once a run."""

    def make(folder: Path) -> None:
        write_registry(folder, {"samplers/near_best": NEAR_BEST})

    place = made_once("hub-registry", make)
    return {
        "name": "hub",
        "registry": str(place),
        "package": "samplers/near_best",
        "revision": git(place, "rev-parse", "HEAD"),
        **changes,
    }


def sampled(name: str) -> dict[str, Any]:
    """Return settings with which a sampler soon learns; later one that takes long to propose."""
    startup = 8 if name == "gp" else 4
    settings = hub() if name == "hub" else {"name": name}
    return {"sampler": {**settings, "startup_trials": startup, "population": 4}}


def short(name: str) -> dict[str, Any]:
    """Return the same with few trials for one that takes long to propose."""
    return sampled(name) | ({"budget": {"trials": 11}} if name == "gp" else {})


PRUNINGS: list[dict[str, Any]] = [
    *({"name": name} for name in PRUNERS),
    {"type": "promote"},
    {"tie": "epsilon_net"},
]
"""The settings of each pruner, and of each way in which the default one works."""


def pruned(pruning: dict[str, Any], objectives: list[str]) -> dict[str, Any]:
    """Return the settings of a pruner, with as many of the objectives as it takes."""
    many = pruning.get("name", FOR_MANY[0]) in FOR_MANY
    return {"pruning": pruning, "objectives": objectives if many else objectives[:1]}


MIXED: dict[str, Any] = {
    "rate": {"float": [1e-4, 1.0], "log": True},
    "share": {"float": [0.0, 1.0]},
    "units": {"int": [4, 16], "step": 4},
    "net": {"choice": ["small", "large", None]},
    "depth": {"int": [1, 3], "when": {"net": "large"}},
}


def mixed(**changes: Any) -> SearchSpec:
    """Return a search of that space, of one objective to maximise and one to minimise."""
    content = {
        "name": "mixed",
        "space": MIXED,
        "objectives": ["score", "loss"],
        "minimize": ["loss"],
        "epochs": 9,
        "budget": {"trials": 24},
        "workers": 3,
    }
    return SearchSpec.model_validate({**content, **changes})
