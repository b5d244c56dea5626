"""The sections of a study file: teachers, sampler, pruning, constraints, warm start, tracking."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from refkd.config import Settings
from refkd.urls import Url
from tune.config.metrics import Metric
from tune.config.space import Value


class EarlierStudy(Settings):
    """A prior that lies where the best trials of another study do."""

    study: Annotated[
        Annotated[Url, Tag("url")] | Annotated[Path, Tag("path")],
        Discriminator(lambda value: "url" if is_url(value) else "path"),
    ] = Field(alias="from")
    """Its study file, its folder, or its storage's URL (`URL#NAME`)."""
    points: list[dict[str, Value]] = Field(default_factory=list)
    """Values of its best trials, which a search stores as it begins; a study file has none."""


def is_url(value: object) -> bool:
    """Return whether a study is named by the URL of its storage."""
    return isinstance(value, Url) or (
        isinstance(value, str) and ("://" in value or value.startswith(("journal:", "${")))
    )


def names_study(prior: object) -> bool:
    """Return whether a prior names another study instead of values."""
    return isinstance(prior, EarlierStudy) or (isinstance(prior, dict) and "from" in prior)


class Sampler(Settings):
    """How hyperparameters are proposed."""

    name: Literal["curves", "tpe", "nsga2", "nsga3", "gp", "qmc", "random", "hub"] = "curves"
    """A Gaussian process over points and epochs, which learns from curves as far as they go, or
    Optuna's TPE, NSGA-II, NSGA-III, Gaussian process, quasi Monte Carlo, chance, or a sampler of
    OptunaHub."""
    registry: Path | None = None
    """Hub: folder of a clone of an OptunaHub registry."""
    package: str | None = Field(default=None, pattern=r"^\w+(/\w+)*$")
    """Hub: the package in it, such as `samplers/NAME`."""
    revision: str | None = Field(default=None, pattern=r"^\w[\w./-]*$")
    """Hub: the commit or tag of the registry that the package is to be of."""
    class_name: str | None = Field(default=None, alias="class")
    """Hub: the sampler's class; null for the only one of the package."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Hub: arguments of the class, but for the seed."""
    startup_trials: int = Field(default=6, ge=0)
    """Random trials before curves, TPE or GP model anything."""
    multivariate: bool = True
    """TPE: model the parameters together; false is one by one."""
    constant_liar: bool = True
    """TPE: treat running trials as bad ones, so that workers do not try the same point."""
    population: int = Field(default=12, ge=2)
    """NSGA: trials of a generation."""
    prior: Annotated[
        Annotated[dict[str, Value], Tag("values")] | Annotated[EarlierStudy, Tag("earlier")],
        Discriminator(lambda value: "earlier" if names_study(value) else "values"),
    ] = Field(default_factory=dict)
    """Values believed to be good, by key of the space, or `from`, a study whose best trials say
    them: of curves and random, a share of the proposals lies near, half at first and ever less."""
    repeat: bool | Literal["further_seeds"] = False
    """Whether a point may be tried more than once; else another takes its place, and a space of a
    few points is searched no longer than there are any. With true its students have the same seeds
    and results again, with `further_seeds` seeds that no trial of the point has had: its trials
    are then compared as one, by the mean over all their seeds."""

    @model_validator(mode="after")
    def _names_a_package(self) -> Sampler:
        needed = ("registry", "package", "revision")
        for key in (*needed, "class_name", "options"):
            given, name = bool(getattr(self, key)), key.removesuffix("_name")
            if given and self.name != "hub":
                raise ValueError(f"{name} goes with name: hub, not {self.name}")
            if not given and self.name == "hub" and key in needed:
                raise ValueError(f"name: hub needs {name}")
        return self

    @model_validator(mode="after")
    def _takes_a_prior(self) -> Sampler:
        if self.prior and self.name not in ("curves", "random"):
            raise ValueError(f"prior goes with name: curves or random, not {self.name}")
        return self


OWN = ("pareto_halving", "paired_racing")
"""The prunings of any number of objectives."""


class Pruning(Settings):
    """How a trial is stopped before its last epoch."""

    name: Literal[
        "pareto_halving",
        "paired_racing",
        "median",
        "percentile",
        "successive_halving",
        "hyperband",
        "none",
    ] = "pareto_halving"
    """Successive halving by Pareto rank for any number of objectives (with one it is ASHA), a race
    that stops only what is hardly among the best by the scores of each pair, or a pruner of
    Optuna's for one objective."""
    type: Literal["stop", "promote"] | None = None
    """What happens at a rung: `stop` ends the worse trials, `promote` pauses all and resumes the
    best from their checkpoints; null is `promote` where the name is pareto_halving."""
    tie: Literal["crowding", "epsilon_net"] = "crowding"
    """Order within a front: by crowding distance, or by how well a trial spreads the chosen."""
    min_epochs: int = Field(default=2, ge=1)
    """The first rung: no trial is judged before it."""
    resource: Literal["epochs", "seconds", "money"] = "epochs"
    """What rungs are counted in: epochs, or the seconds or the money (`prices`) that a trial's
    training has used; a trial is at a rung after the first epoch that uses as much."""
    first: float | None = Field(default=None, gt=0)
    """The first rung in seconds or money, in the place of min_epochs."""
    reduction: int = Field(default=3, ge=2)
    """η: a rung lies η times higher than the one below."""
    one_in: int | None = Field(default=None, ge=2)
    """Of how many trials at a rung about one passes it; η where it is not given."""
    probability: float | None = Field(default=None, gt=0, lt=1)
    """paired_racing: a trial is stopped where it is among those that pass a rung with less than
    this probability; null is 0.1."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of a pruner of Optuna's."""

    @model_validator(mode="after")
    def _fits(self) -> Pruning:
        if self.type == "promote" and self.name != "pareto_halving":
            raise ValueError(f"type: promote goes with name: pareto_halving, not {self.name}")
        if self.resource != "epochs" and self.name not in OWN:
            raise ValueError(
                f"resource: {self.resource} goes with name: {' or '.join(OWN)}, not {self.name}"
            )
        if self.probability is not None and self.name != "paired_racing":
            raise ValueError(f"probability goes with name: paired_racing, not {self.name}")
        if (self.resource != "epochs") != (self.first is not None):
            raise ValueError(
                f"first is the first rung in seconds or money; with resource: {self.resource} "
                + ("give min_epochs instead" if self.first is not None else "it must be given")
            )
        if self.options and self.name in (*OWN, "none"):
            raise ValueError(f"options belong to a pruner of Optuna's, not to {self.name}")
        return self

    @property
    def passing(self) -> int:
        """Of how many trials at a rung about one passes it."""
        return self.one_in or self.reduction

    @property
    def least(self) -> float:
        """The least probability of being among those that pass with which a trial goes on."""
        return 0.1 if self.probability is None else self.probability


class Constraint(Settings):
    """A bound that a feasible trial keeps; only feasible trials can be on the front."""

    metric: Metric
    """The validation metric that is bounded from below."""
    at_least: float | None = Field(default=None, ge=0, le=100)
    """The bound itself."""
    teacher: Literal["id", "ood"] | None = None
    """Instead, the teacher whose own score is the bound."""
    within: float = Field(default=0.0, ge=0)
    """How far below the teacher a trial may fall."""

    @model_validator(mode="after")
    def _one_bound(self) -> Constraint:
        if (self.at_least is None) == (self.teacher is None):
            raise ValueError("give exactly one of at_least and teacher")
        if self.within and self.teacher is None:
            raise ValueError("within is how far below a teacher; with at_least, lower that")
        return self


class WarmStart(Settings):
    """Points taken from elsewhere and tried first."""

    studies: list[Path] = Field(default_factory=list)
    """Study files whose best trials are tried here, as far as their keys are in this space."""
    top: int = Field(default=3, ge=1)
    """Trials taken from each of them, from its front first."""
    paper: bool = False
    """Whether the paper's defaults are tried, for every key of the space that has one inside."""


class Tracking(Settings):
    """Where MLflow keeps the record of a study."""

    model_config = ConfigDict(hide_input_in_errors=True)

    uri: Url | None = None
    """Tracking server or store; null for MLFLOW_TRACKING_URI, else a SQLite file in the workspace.
    `${NAME}` in it stands for a variable of the environment."""
    enabled: bool = True
    """False runs the search without any record in MLflow."""
    experiment: str | None = None
    """Name of the experiment; null for `refkd/NAME`."""
