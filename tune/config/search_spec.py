"""What a search needs to know, whatever its trials train."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from pydantic import Field, model_validator

from refkd.config import Settings
from tune.config.keys import MisplacedError
from tune.config.limits import Budget, Prices, Replicates, Resources
from tune.config.settings import OWN, Constraint, Pruning, Sampler
from tune.config.space import Dimension, Value, Values, every_point, misfit


def signs_of(objectives: Sequence[str], minimize: Sequence[str]) -> list[float]:
    """Return 1 for each objective that is maximised, -1 for each that is minimised."""
    return [-1.0 if name in minimize else 1.0 for name in objectives]


class SearchSettings(Settings):
    """The part of a study file that a search itself reads."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """The study's name: letters, digits, _ and -."""
    space: dict[str, Dimension] = Field(min_length=1)
    """What is searched, by dotted keys of the sections backbone, distill and training."""
    start_from: list[dict[str, Value]] = Field(default_factory=list)
    """Points tried first, each a set of values inside the space."""
    objectives: list[str] = Field(
        default_factory=lambda: ["val_id/miou", "val_ood/miou"], min_length=1
    )
    """Metrics to maximise, but for those that `minimize` names."""
    minimize: list[str] = Field(default_factory=list)
    """The objectives among them of which less is better."""
    constraints: list[Constraint] = Field(default_factory=list)
    """Bounds that a trial must keep to be on the front."""
    budget: Budget = Budget()
    """How much the search may do."""
    prices: Prices = Prices()
    """What an hour costs, for `refkd bill` and `budget.money`."""
    sampler: Sampler = Sampler()
    """How hyperparameters are proposed."""
    pruning: Pruning = Pruning()
    """How trials are stopped early."""
    replicates: Replicates = Replicates()
    """Seeds of each trial."""
    workers: int = Field(default=2, ge=1)
    """Trials that run at once."""
    resources: Resources = Resources()
    """CPU cores and GPUs of each trial."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    """Seed of everything that is random in the study."""

    @model_validator(mode="after")
    def _objectives_fit(self) -> SearchSettings:
        if len(set(self.objectives)) != len(self.objectives):
            raise MisplacedError(
                ("objectives",), f"objectives: {self.objectives} names a metric twice"
            )
        for place, name in enumerate(self.minimize):
            if name not in self.objectives or name in self.minimize[:place]:
                why = "stands there twice" if name in self.objectives else "is no objective"
                raise MisplacedError(
                    ("minimize", place),
                    f"minimize: {name} {why}; the objectives are {', '.join(self.objectives)}",
                )
        prior = self.sampler.prior
        wrong = misfit(self.space, prior) if isinstance(prior, dict) else None
        if wrong is not None:
            raise MisplacedError(("sampler", "prior"), f"sampler.prior: {wrong}")
        if len(self.objectives) > 1 and self.pruning.name not in (*OWN, "none"):
            raise MisplacedError(
                ("pruning", "name"),
                f"pruning.name: {self.pruning.name} knows one objective only, the study has "
                f"{len(self.objectives)}; use {' or '.join(OWN)}",
            )
        return self


class SearchSpec(SearchSettings):
    """A search of any trials that report their metrics after each epoch.

    >>> spec = SearchSpec(
    ...     name="curves", epochs=50, objectives=["accuracy", "seconds"], minimize=["seconds"],
    ...     space={"rate": {"float": [1e-4, 1.0], "log": True}},
    ... )
    >>> spec.signs
    [1.0, -1.0]
    """

    epochs: int = Field(ge=1)
    """Epochs of a whole trial."""
    fixed: Values = Field(default_factory=dict)
    """Values of keys that are not searched, which conditions may name."""

    source: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """What the spec was made from, such as a study file: kept with each launch, and not read."""

    @model_validator(mode="after")
    def _trainings_in_epochs(self) -> SearchSpec:
        self.__dict__["budget"] = self.budget.in_epochs(self.epochs)
        return self

    @model_validator(mode="after")
    def _no_more_trials_than_points(self) -> SearchSpec:
        points = None if self.sampler.repeat else every_point(self.space, self.fixed)
        if points is not None:
            most = sum(1 for _ in islice(points, self.budget.trials))
            self.__dict__["budget"] = self.budget.model_copy(update={"trials": most})
        return self

    @property
    def signs(self) -> list[float]:
        """1 for each objective that is maximised, -1 for each that is minimised."""
        return signs_of(self.objectives, self.minimize)

    @classmethod
    def of(cls, settings: SearchSettings, *, epochs: int, fixed: Values) -> SearchSpec:
        """Return the spec of settings that hold more than a search needs."""
        shared = {name: getattr(settings, name) for name in SearchSettings.model_fields}
        source = settings.model_dump(mode="json", by_alias=True)
        return cls(**shared, epochs=epochs, fixed=fixed, source=source)
