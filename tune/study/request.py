"""What a study asks a worker to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune.config.space import Values
from tune.study.view import CONTINUES, repeats_of


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRequest:
    """What a worker is to train."""

    number: int
    values: Values
    attempt: int
    """How often this trial was handed out, this time included."""
    continues: int | None = None
    """The trial whose checkpoint this one begins from, where a study grew in epochs."""
    inherited: int = 0
    """Epochs that trial had."""
    repeats: int = 0
    """Trials that had the same values before, whose seeds it must not have."""

    @classmethod
    def of(
        cls, number: int, values: Values, attempt: int, facts: Mapping[str, Any]
    ) -> TrialRequest:
        """Return the request of a trial with some facts of its attributes."""
        return cls(
            number=number,
            values=values,
            attempt=attempt,
            continues=facts.get(CONTINUES),
            inherited=int(facts.get("inherited", 0)),
            repeats=repeats_of(facts),
        )
