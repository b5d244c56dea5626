"""A launch: one run of a driver on a study, as the study holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tune.config.limits import Limits
from tune.study.environment import Environment
from tune.study.event_base import study_events
from tune.study.events import LaunchBegun
from tune.study.view import ENDED, TrialView

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSettings, SearchSpec
    from tune.config.space import Values
    from tune.config.study_file import StudyFile

WORKED = "worked:"
"""Prefix of a launch's second attribute: when it was last known to work, and on which machines.
It is overwritten every few seconds, so it is no event."""


class Launch(LaunchBegun, prefix=LaunchBegun.PREFIX, in_key=LaunchBegun.IN_KEY):
    """One run of the driver, as the study holds it: its begin, and what was noted since."""

    last: float
    """When it was last known to work, in seconds since 1970."""
    nodes: list[dict[str, Any]] = field(default_factory=list)
    """Machines that were there meanwhile: `type`, `cpu`, `gpu`, `seconds`."""
    events: int = 0
    """Events of the study by then, those of earlier launches included."""
    trials: int = 0
    """Trials by then, likewise."""

    @cached_property
    def spec(self) -> SearchSpec:
        """What its search knew, checked again."""
        from tune.config.search_spec import SearchSpec
        from tune.config.study_file import StudyFile

        held = self.file if self.search is None else self.search
        # Earlier versions proposed a point again where its sampler did.
        held = {**held, "sampler": {"repeat": True, **held.get("sampler", {})}}
        if self.search is None:
            return StudyFile.model_validate(held).search_spec()
        return SearchSpec.model_validate(held)

    @cached_property
    def settings(self) -> SearchSettings:
        """What its search was asked for; unlike `spec`, never imports what trains."""
        from tune.config.search_spec import SearchSettings

        asked = self.search or self.file
        return SearchSettings.model_validate(
            {key: asked[key] for key in SearchSettings.model_fields if key in asked}
        )

    @property
    def fixed(self) -> Values:
        """Values of keys that were not searched."""
        return self.spec.fixed if self.search is None else dict(self.search["fixed"])

    @property
    def epochs(self) -> int:
        """Epochs of its whole trials."""
        return int(
            self.file["training"]["epochs"] if self.search is None else self.search["epochs"]
        )

    @property
    def limits(self) -> Limits:
        """What its search might use."""
        return Limits.of(self.search or self.file)

    def study_file(self) -> StudyFile:
        """Return the study file as it was, checked again."""
        from tune.config.study_file import StudyFile

        return StudyFile.model_validate(self.file)


def made_with(trial: TrialView, launches: Iterable[Launch]) -> Environment | None:
    """Return code and versions of the launch in which a trial ended; None where unknown."""
    number = trial.stamps[ENDED].launch if ENDED in trial.stamps else 0
    return next((one.environment for one in launches if one.number == number), None)


def read_launches(attributes: Mapping[str, Any]) -> list[Launch]:
    """Return the launches among a study's attributes, the first one first."""
    return [
        Launch(
            **vars(begun),
            **{"last": begun.begun, **attributes.get(f"{WORKED}{begun.number:04d}", {})},
        )
        for begun in study_events(attributes, LaunchBegun)
    ]
