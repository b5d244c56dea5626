"""The section `teachers` of a study file."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from refkd.config import Settings
from refkd.models import BackboneConfig
from refkd.recipes.config import RecipeConfig
from tune.config.space import Dimension


class TeacherTuning(Settings):
    """What `refkd teach --tune` searches of a teacher; a search of students leaves it alone."""

    space: dict[str, Dimension] = Field(min_length=1)
    """Dotted keys of a teacher: backbone, recipe, training."""
    trials: int = Field(default=12, ge=1)
    """Teachers to train."""


class TeacherSpec(Settings):
    """How one teacher is made; what is not given is as in the study's own sections."""

    recipe: RecipeConfig
    """A preset by name, or a preset with switches changed."""
    backbone: BackboneConfig | None = None
    """Another network than the student's."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Keys of the training section that differ for this teacher."""
    seed: int | None = Field(default=None, ge=0)
    """Another seed than the study's."""
    tune: TeacherTuning | None = None
    """Its own hyperparameters, for `refkd teach --tune`."""


class Teachers(Settings):
    """The two frozen teachers; each keeps the epoch that was best on its own validation role."""

    id: TeacherSpec = TeacherSpec(recipe=RecipeConfig.named("id"))
    """Good in distribution: ordinary training, kept by `val_id/miou`."""
    ood: TeacherSpec = TeacherSpec(recipe=RecipeConfig.named("refkd_text"))
    """Good out of distribution, kept by `val_ood/miou`."""
