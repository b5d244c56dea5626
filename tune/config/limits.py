"""How much a search may use, and what that costs; does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

from pydantic import Field, model_validator

from refkd.config import Settings

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSettings

SMALLEST = 0.0001
"""The smallest share of a resource that Ray counts."""
Bounded: TypeAlias = "Limits | SearchSettings"
"""What has limits: a search, or the limits of one alone."""


class Budget(Settings):
    """When a search has done enough: no new trial begins once the first of these is reached.

    Trials that run then are finished. A failed trial counts as one, so it is not run for ever.
    """

    trials: int = Field(default=16, ge=1)
    """Trials in the study, whatever became of them."""
    epochs: int | None = Field(default=None, ge=1)
    """Student epochs in all."""
    trainings: int | None = Field(default=None, ge=1)
    """The same in whole trainings of one student each; a search counts their epochs."""
    wall_hours: float | None = Field(default=None, gt=0)
    """Hours during which a driver has been at work, over all launches."""
    cpu_hours: float | None = Field(default=None, gt=0)
    """CPU hours of the students."""
    gpu_hours: float | None = Field(default=None, gt=0)
    """GPU hours of the students: their time by the share of a GPU that each holds."""
    money: float | None = Field(default=None, gt=0)
    """Cost of the students at the `prices`."""
    finish: int | None = Field(default=None, ge=0)
    """Complete trials with which a search ends at least where trials are promoted: the best paused
    ones take the last of the budget. None is one more than there are objectives."""
    patience: int | None = Field(default=None, ge=1)
    """Complete trials in a row that did not enlarge the hypervolume of the front."""

    def in_epochs(self, epochs: int) -> Budget:
        """Return the budget with its whole trainings, of so many epochs each, as epochs too."""
        if self.trainings is None:
            return self
        return self.model_copy(update={"epochs": self.trainings * epochs})


class Prices(Settings):
    """What an hour costs."""

    cpu_hour: float = Field(default=0.0, ge=0)
    """One CPU core for an hour."""
    gpu_hour: float = Field(default=0.0, ge=0)
    """One GPU for an hour."""
    node_hour: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """One machine for an hour, by its type: a name of `available_node_types` in the cluster file,
    or what `refkd bill` calls it."""
    currency: str = "USD"
    """Printed beside amounts."""


class Replicates(Settings):
    """Seeds of a trial; its objectives are means over them."""

    seeds: int = Field(default=1, ge=1)
    """Students trained in a trial, equal but for their seeds."""
    race: int = Field(default=1, ge=1)
    """Seeds that the pruner sees; the others are trained only where a trial is not pruned."""

    @model_validator(mode="after")
    def _race_within(self) -> Replicates:
        if self.race > self.seeds:
            raise ValueError(f"race is {self.race}, more than seeds={self.seeds}")
        return self


class Resources(Settings):
    """What one trial holds while it runs."""

    cpu: float = Field(default=1.0, gt=0)
    """CPU cores; a trial computes with this many threads, at least one."""
    gpu: float = Field(default=0.0, ge=0)
    """GPUs; a fraction lets trials share one."""
    resident: bool = False
    """Each trial keeps all features on its device: for GPUs whose memory holds them so often."""
    compiled: bool = False
    """Let torch compile networks before their first step: pays off on a GPU, not on a CPU."""

    @model_validator(mode="after")
    def _whole_gpus(self) -> Resources:
        if self.gpu > 1 and self.gpu % 1:
            raise ValueError(f"gpu={self.gpu:g}: give a share of one GPU, or a whole number")
        if 0 < min(self.cpu, self.gpu or self.cpu) < SMALLEST:
            raise ValueError(f"a share below {SMALLEST} is none; give more")
        return self

    @property
    def device(self) -> str:
        """Where it computes, by torch's name."""
        return "cuda" if self.gpu > 0 else "cpu"


class Limits(Settings):
    """The limits of a study file."""

    budget: Budget = Budget()
    resources: Resources = Resources()
    prices: Prices = Prices()
    replicates: Replicates = Replicates()

    @classmethod
    def of(cls, file: Mapping[str, Any]) -> Self:
        """Return the limits of a study file's content."""
        return cls.model_validate({k: file[k] for k in cls.model_fields if k in file})
