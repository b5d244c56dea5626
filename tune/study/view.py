"""What the storage holds of a trial: its stamped events and other facts, by their keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tune import compat

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tune.config.space import Value, Values

EPOCH, SCORED, RUNG, PROMOTION = "epoch:", "scored:", "rung:", "promotion:"
ASKED, ENDED = "asked", "ended"
CONTINUES = "continues"
"""Attribute of a trial that goes on from another one's checkpoint: that one's number."""
RETRIES = "retries"
"""Attribute of a trial that tries a failed one's values again: that one's number."""
STAMP = "stamp"

ENDED_STATES = ("COMPLETE", "PRUNED", "FAIL")
"""Optuna's words for the ways in which a trial ends."""
FOREIGN = "FOREIGN"
"""The state of a trial that is none of the search's, whatever Optuna's is."""

SCHEMA = 3
"""Version of this way of storing a study; no other is read."""

Action = Literal["go", "stop", "pause"]


class Stamp(NamedTuple):
    """Place, time, hash and launch of an event, in the order in which they are stored."""

    place: int
    time: float
    """Seconds since 1970."""
    digest: str
    launch: int
    """The launch that wrote it."""


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """What the storage holds of one trial; epochs count from 1."""

    number: int
    state: str
    """What became of it, by Optuna's name; `FOREIGN` where it is not the search's."""
    values: Values = field(default_factory=dict)
    objectives: list[float] | None = None
    """The objectives of a complete trial, as they were measured."""
    signs: Sequence[float] = ()
    """Those of the objectives: -1 for one that is minimised, else 1; none given are all 1."""
    attributes: dict[str, Any] = field(default_factory=dict, repr=False)
    """Its events and other facts, by the key they are stored under."""
    pooled: Sequence[int] = ()
    """The trials of a point that has had further seeds, whose means it holds; else none."""

    @property
    def members(self) -> Sequence[int]:
        """The trials that it is made of, the first one first."""
        return self.pooled or (self.number,)

    @property
    def numbers(self) -> str:
        """Their numbers, as a table shows them."""
        return ", ".join(map(str, self.members))

    @property
    def gains(self) -> list[float] | None:
        """The objectives with those that are minimised negated: more is better in each."""
        if self.objectives is None or not self.signs:
            return self.objectives
        return [s * value for s, value in zip(self.signs, self.objectives, strict=True)]

    @cached_property
    def curve(self) -> dict[int, dict[str, float]]:
        """Metrics by epoch."""
        held = self._by_epoch(EPOCH).items()
        return {epoch: {k: v for k, v in row.items() if k != STAMP} for epoch, row in held}

    @cached_property
    def stamps(self) -> dict[str, Stamp]:
        """Stamp of each event by its key."""
        held = self.attributes.items()
        return {k: Stamp(*v[STAMP]) for k, v in held if isinstance(v, dict) and STAMP in v}

    @cached_property
    def scored(self) -> dict[int, dict[str, str]]:
        """What epochs at rungs scored on the pairs of each video, as `tune.study.racing.pack`."""
        held = self._by_epoch(SCORED).items()
        return {epoch: {k: v for k, v in row.items() if k != STAMP} for epoch, row in held}

    @cached_property
    def decisions(self) -> dict[int, dict[str, Any]]:
        """What was decided at each rung."""
        return self._by_epoch(RUNG)

    @cached_property
    def promotions(self) -> dict[int, dict[str, Any]]:
        """Decisions to resume the trial from the rung it was paused at."""
        return self._by_epoch(PROMOTION)

    @property
    def finishes(self) -> bool:
        """Whether the trial is trained to its end without another decision."""
        return any(event.get("finish") for event in self.promotions.values())

    def _by_epoch(self, prefix: str) -> dict[int, dict[str, Any]]:
        keys = [key for key in self.attributes if key.startswith(prefix)]
        epochs = sorted((int(key.removeprefix(prefix)), key) for key in keys)
        return {epoch: self.attributes[key] for epoch, key in epochs}

    @property
    def epoch(self) -> int:
        """The last epoch stored."""
        return max(self.curve, default=0)

    @property
    def last(self) -> dict[str, float]:
        """Metrics of the last epoch."""
        return self.curve.get(self.epoch, {})

    @property
    def kept(self) -> dict[str, float]:
        """Metrics of the weights that were kept: means over the seeds, where there are several."""
        final: dict[str, float] | None = self.attributes.get(ENDED, {}).get("final")
        return final if final is not None else self.last

    @property
    def violations(self) -> dict[str, float]:
        """How far the trial misses each constraint; above 0 is missed."""
        known = self.attributes.get("violations", {})
        return dict(self.attributes.get(ENDED, {}).get("violations", known))

    @property
    def feasible(self) -> bool:
        """Whether every constraint holds."""
        return all(v <= 0 for v in self.violations.values())

    @property
    def seeds(self) -> int:
        """Students of a complete trial, one a seed; 1 where nobody said how many."""
        return len(self.attributes.get(ENDED, {}).get("students") or [None])

    @property
    def continues(self) -> bool:
        """Whether the trial goes on from another one's checkpoint."""
        return CONTINUES in self.attributes and self.state != FOREIGN

    @property
    def retries(self) -> int | None:
        """The failed trial that this one tries again."""
        return None if self.state == FOREIGN else self.attributes.get(RETRIES)

    @property
    def repeats(self) -> int:
        """How many trials had its values before, whose students' seeds it has not."""
        return repeats_of(self.attributes)

    @property
    def again(self) -> bool:
        """Whether the trial goes on from another one, or retries one: that one has counted."""
        return self.continues or self.retries is not None

    @property
    def refused(self) -> bool:
        """Whether it is a point of the queue that could not be tried."""
        return self.state == "FAIL" and ENDED not in self.attributes

    @property
    def counts(self) -> bool:
        """Whether it was begun at the expense of the budget's number of trials."""
        return not (self.state in ("WAITING", FOREIGN) or self.refused or self.again)

    @property
    def paused_at(self) -> int | None:
        """The rung the trial waits at for its promotion."""
        if self.state != "RUNNING" or not self.decisions:
            return None
        rung = max(self.decisions)
        paused = self.decisions[rung]["action"] == "pause" and rung not in self.promotions
        return rung if paused else None

    @property
    def reason(self) -> str | None:
        """Why the trial failed."""
        return self.attributes.get("reason")

    @property
    def ended(self) -> float | None:
        """When the trial ended, in seconds since 1970."""
        return self.stamps[ENDED].time if ENDED in self.stamps else None

    def time_of(self, epoch: int) -> float:
        """Return when an epoch was stored, in seconds since 1970."""
        return self.stamps[key_of(EPOCH, epoch)].time


def key_of(prefix: str, epoch: int) -> str:
    """Return the attribute under which something about an epoch is stored."""
    return f"{prefix}{epoch:04d}"


def point_key(values: Mapping[str, Value]) -> str:
    """Return what tells a point from every other one; samplers round steps differently."""
    plain = {k: f"{v:.12g}" if isinstance(v, float) else repr(v) for k, v in values.items()}
    return json.dumps(plain, sort_keys=True)


def repeats_of(attributes: Mapping[str, Any]) -> int:
    """Return how many trials a trial with some attributes repeats with further seeds."""
    return int(attributes.get(ASKED, {}).get("repeats", 0))


def last_epoch(attributes: Mapping[str, Any]) -> int:
    """Return the last epoch among a trial's attributes; 0 before the first."""
    return max((int(k.removeprefix(EPOCH)) for k in attributes if k.startswith(EPOCH)), default=0)


def view(trial: FrozenTrial) -> TrialView:
    """Return the view of a trial of Optuna's."""
    return TrialView(
        number=trial.number,
        state=trial.state.name,
        values=dict(trial.params),
        objectives=list(trial.values) if trial.values else None,
        attributes=dict(trial.user_attrs),
    )


class ViewCache:
    """The views of a study's trials; Optuna makes a new object of each trial that changes.

    `regard` returns a trial as the study regards it.
    """

    def __init__(self, regard: Callable[[TrialView], TrialView]) -> None:
        self._regard = regard
        self._trials: list[FrozenTrial] = []
        self._views: list[TrialView] = []

    def views(self, trials: list[FrozenTrial]) -> list[TrialView]:
        """Return the views of all trials of the study, given in the order of their numbers."""
        for number in changed(trials, self._trials):
            self._views[number : number + 1] = [self._regard(view(trials[number]))]
        self._trials = trials.copy()
        return self._views.copy()


def changed(now: Sequence[object], before: Sequence[object]) -> Iterator[int]:
    """Yield the indices at which `now` holds another object than `before`, new ones last.

    >>> kept = object()
    >>> list(changed([kept, object(), object()], [kept, object()]))
    [1, 2]
    """
    yield from compress(range(len(before)), map(compat.trial_changed, now, before))
    yield from range(len(before), len(now))
