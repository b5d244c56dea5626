"""The section `teachers` of a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from refkd.config import Settings
from refkd.models import BackboneConfig
from refkd.recipes.config import RecipeConfig
from tune.config.space import Dimension

TEACHER_ROLES = ("id", "ood")


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


class ImportedTeacherSpec(Settings):
    """A teacher from elsewhere, by its answers to every pair that a search may read.

    >>> ImportedTeacherSpec.model_validate({"from": "answers.jsonl"}).file.name
    'answers.jsonl'
    """

    file: Path = Field(alias="from")
    """JSONL, Parquet or npz with start and end logits, probabilities, or scored spans in seconds;
    `refkd teach STUDY --check FILE` says what is wrong with one."""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        """Say why nothing else can be asked of it."""
        others = sorted(set(given) - {"from"}) if isinstance(given, dict) else []
        if others:
            raise ValueError(
                f"a teacher that is imported has no {others[0]}; remove it, or remove `from`"
            )
        return given


def _kind(given: Any) -> str:
    by_file = (
        "from" in given if isinstance(given, dict) else isinstance(given, ImportedTeacherSpec)
    )
    return "imported" if by_file else "trained"


SPEC_KINDS = ("trained", "imported")
"""How pydantic names the kinds of a teacher, behind its role."""
AnyTeacherSpec = Annotated[
    Annotated[TeacherSpec, Tag("trained")] | Annotated[ImportedTeacherSpec, Tag("imported")],
    Discriminator(_kind),
]


class Teachers(Settings):
    """The two frozen teachers; each keeps the epoch that was best on its own validation role.

    `from: FILE` alone, in the place of all other keys, imports a teacher from elsewhere.
    """

    id: AnyTeacherSpec = TeacherSpec(recipe=RecipeConfig.named("id"))
    """Good in distribution: ordinary training, kept by `val_id/miou`."""
    ood: AnyTeacherSpec = TeacherSpec(recipe=RecipeConfig.named("refkd_text"))
    """Good out of distribution, kept by `val_ood/miou`."""
