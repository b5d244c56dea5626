"""Every sampler and every pruner that a study file takes, and a space of every kind of range."""

from __future__ import annotations

from typing import Any, get_args

from tune.config.search_spec import SearchSpec
from tune.config.settings import OWN, Pruning, Sampler

SAMPLERS: tuple[str, ...] = get_args(Sampler.model_fields["name"].annotation)
PRUNERS: tuple[str, ...] = get_args(Pruning.model_fields["name"].annotation)
FOR_MANY = (*OWN, "none")
"""The pruners that take several objectives."""


def sampled(name: str) -> dict[str, Any]:
    """Return settings with which a sampler soon learns; later one that takes long to propose."""
    startup = 8 if name == "gp" else 4
    return {"sampler": {"name": name, "startup_trials": startup, "population": 4}}


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
