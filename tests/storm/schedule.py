"""A schedule of faults: all that befalls one simulated study, drawn from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

from support.recorded_curves import study_file

from tune.config.study_file import StudyFile

EPOCHS, TRIALS = 4, 6
LENGTH = 300.0
"""Seconds in which most studies would end without faults."""
SETTINGS: list[dict[str, Any]] = [
    {},
    {"sampler": {"name": "random"}},
    {"sampler": {"name": "random"}, "pruning": {"name": "none"}},
    {"sampler": {"name": "qmc"}},
    {"sampler": {"name": "nsga2", "population": 4}},
    {"pruning": {"type": "stop"}},
    {"sampler": {"name": "random"}, "pruning": {"type": "promote"}},
    {"pruning": {"name": "none"}, "constraints": [{"metric": "val_id/miou", "at_least": 30.0}]},
    {"objectives": ["val_id/miou"], "pruning": {"name": "median"}},
    {"objectives": ["val_id/miou"], "pruning": {"name": "successive_halving"}},
    {"start_from": [{"distill.lambda_id": 0.1}, {"distill.lambda_ood": 0.5}]},
]
LIMITS: list[dict[str, Any]] = [{}, {}, {}, {"epochs": 14}, {"wall_hours": 150 / 3600}]

WriteFault = Literal["kill before", "kill after", "refused", "answer lost", "interrupted"]
"""What happens at a write to the study's storage."""
CallFault = Literal["down", "answer lost", "done late", "kill before", "kill after"]
"""What happens at a call of the tracking server."""
Kind = Literal["kill driver", "kill worker", "stall", "clock", "second driver", "disk full"]
MOMENTS: list[Kind] = ["kill driver", "kill worker", "stall", "clock", "second driver"]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Something that happens at a time, whatever the search is doing."""

    at: float
    kind: Kind
    host: int
    seconds: float = 0.0
    """How long a driver stalls, or by how much a clock is set."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One study and what befalls it."""

    seed: int
    file: StudyFile
    grown: StudyFile | None
    """The study file to go on with once the study has ended."""
    locks: bool
    """Whether the folder of the storage has locks that all machines see."""
    writes: dict[int, WriteFault]
    """By the number of the write, counted over all drivers."""
    calls: dict[int, CallFault]
    """By the number of the call, counted over all drivers."""
    moments: list[Moment]
    crash: float
    """Probability that a worker dies in an epoch, before its checkpoint or after it."""
    repeat: float
    """Probability that a report is delivered twice."""

    @property
    def calm(self) -> Schedule:
        """The same study without faults."""
        nothing: dict[str, Any] = {"writes": {}, "calls": {}, "moments": []}
        return Schedule(**{**vars(self), **nothing, "crash": 0.0, "repeat": 0.0})

    @property
    def repeats(self) -> bool:
        """Whether faults may change nothing: one worker, and no limit that the clock decides."""
        return self.file.workers == 1 and self.file.budget.wall_hours is None

    @property
    def values_repeat(self) -> bool:
        """Whether each trial's values depend on its number alone, with any number of workers."""
        return self.file.sampler.name in ("random", "qmc")


def draw(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    chance = random.Random(f"storm {seed}")
    settings = chance.choice(SETTINGS)
    budget = {"trials": TRIALS, **chance.choice(LIMITS)}
    common = {
        "name": "storm",
        "budget": budget,
        "training": {"epochs": EPOCHS},
        "workers": chance.choice([1, 1, 2, 3]),
        "seed": seed,
        "sampler": {"startup_trials": 3},
        "tracking": {"uri": "http://storm"},
        **settings,
    }
    grown = None
    if chance.random() < 0.2 and set(budget) == {"trials"}:
        larger = {"budget": {"trials": TRIALS + 2}, "training": {"epochs": EPOCHS + 2}}
        grown = study_file(**{**common, **larger})
    return Schedule(
        seed=seed,
        file=study_file(**common),
        grown=grown,
        locks=chance.random() < 0.6,
        writes=_faults(chance, 160, list(WriteFault.__args__)),  # type: ignore[attr-defined]
        calls=_faults(chance, 60, list(CallFault.__args__)),  # type: ignore[attr-defined]
        moments=_moments(chance),
        crash=chance.choice([0.0, 0.0, 0.05, 0.1]),
        repeat=chance.choice([0.0, 0.1, 0.3]),
    )


def _faults(chance: random.Random, within: int, kinds: list[Any]) -> dict[int, Any]:
    return {chance.randint(1, within): chance.choice(kinds) for _ in range(chance.randint(0, 5))}


def _moments(chance: random.Random) -> list[Moment]:
    seconds = {
        "stall": lambda: chance.choice([5.0, 70.0, 200.0, 200.0]),
        "clock": lambda: chance.choice([-1.0, 1.0]) * chance.choice([30.0, 700.0, 7200.0]),
    }
    found = []
    for _ in range(chance.randint(0, 6)):
        kind = chance.choice(MOMENTS)
        how = seconds[kind]() if kind in seconds else 0.0
        at = chance.uniform(0, LENGTH)
        found.append(Moment(at=at, kind=kind, host=chance.randint(0, 1), seconds=how))
        if kind == "stall":  # somebody takes the study for abandoned
            for host in (0, 1):
                later = at + chance.uniform(0, how)
                found.append(Moment(at=later, kind="second driver", host=host))
    return sorted(found, key=lambda moment: moment.at)
