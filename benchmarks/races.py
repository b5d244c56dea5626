"""What each pruning costs a champion: how far it is below the best of its trials in truth.

A search is some students of a bank in the real engine, validated on as many pairs as the real
split has; those that are stopped cannot win. All prunings have the same students in the same order
and the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.finals import OF_PAIRS, SPREAD
from benchmarks.rows import Row, row
from benchmarks.winner import PAIRS, TRIALS, drawn_of
from benchmarks.worlds import ROLES, Bank, Trained
from refkd.seeds import generator
from tune.config.search_spec import SearchSpec
from tune.config.space import Value
from tune.simulation.simulator import Curve, Simulated, World
from tune.study.racing import pack

WAYS: Mapping[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "halving, stop": {"type": "stop"},
    "halving, stop, one_in 2": {"type": "stop", "one_in": 2},
    "halving, promote": {"type": "promote"},
    "racing, 0.1": {"name": "paired_racing"},
    "racing, 0.3": {"name": "paired_racing", "probability": 0.3},
}
RACE = "racing, 0.1"
SEARCHES, FEW = 40, 6
"""Searches in a world, and trainings whose epochs one may use up that takes all students."""
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Student:
    """The curves of a student on drawn pairs."""

    tiou: Mapping[str, Values]
    """(E, N) percent, by objective."""
    videos: Mapping[str, list[str]]

    def at(self, epoch: int) -> dict[str, float]:
        """Return its metrics."""
        return {name: float(rows[epoch - 1].mean()) for name, rows in self.tiou.items()}

    def seconds(self, epoch: int) -> float:
        """Return what an epoch takes: the same of all."""
        return 1.0

    def scored(self, epoch: int) -> dict[str, str]:
        """Return what the pairs of each video scored."""
        rows = self.tiou.items()
        return {name: pack(row[epoch - 1] / 100, self.videos[name]) for name, row in rows}


class Raced(Simulated):
    """A search whose curves know their pairs."""

    def scored(self, curve: Curve, epoch: int) -> Mapping[str, str]:
        """Return what the pairs of each video scored."""
        assert isinstance(curve, Student)
        return curve.scored(epoch) if self.spec.pruning.name == "paired_racing" else {}


@dataclass(frozen=True)
class Students:
    """Students by their number."""

    held: Mapping[int, Student]

    def nearest(self, values: Mapping[str, Value]) -> Student:
        """Return the student of a point."""
        return self.held[_number(values)]


def rows(banks: Sequence[Bank], *, searches: int) -> Iterator[Row]:
    """Yield what champions lack under each pruning, one figure a world."""
    worlds = [[bank] * searches for bank in banks]
    close = [[made_up(seed) for seed in range(searches * len(banks))]]
    for told, given, roles in (
        ("ID", worlds, ROLES[:1]),
        ("OOD", worlds, ROLES[1:]),
        ("ID and OOD", worlds, ROLES),
        ("close students, made up", close, ROLES[:1]),
    ):
        for few in (False, True):
            found = {
                way: np.array(
                    [
                        [search(b, roles, pruning, seed, few=few) for seed, b in enumerate(world)]
                        for world in given
                    ]
                )
                for way, pruning in WAYS.items()
            }
            for way in found:
                yield _row(f"{told}, {way}", found[way], few=few)
            for way in [way for way in found if way != RACE]:
                yield _less(f"{told}, {RACE} less {way}", found[RACE] - found[way], few=few)


def _row(case: str, found: Values, *, few: bool) -> Row:
    """Return the row of (W, R, 2) searches: what each champion lacks, and the share of epochs."""
    short, share = found[:, :, 0], found[:, :, 1]
    searches = short.shape[1]
    error = short.std(axis=1, ddof=1).mean() / searches**0.5
    return row(
        "noise",
        f"{case}, {_told(few)}: champion below the best in truth",
        list(map(float, short.mean(axis=1))),
        unit="points",
        clock="none",
        note=f"{100 * (short > 0).mean():.0f} % are not the best; {100 * share.mean():.0f} % of "
        f"{TRIALS} trainings' epochs; {searches} searches a world, standard error {error:.2g}",
    )


def _less(case: str, found: Values, *, few: bool) -> Row:
    """Return the row of how much less the champions of (W, R, 2) searches lack under one way."""
    short = found[:, :, 0]
    pooled = short.ravel()
    drawn = generator("less").integers(len(pooled), size=(2000, len(pooled)))
    low, high = np.quantile(pooled[drawn].mean(axis=1), [0.025, 0.975])
    return row(
        "noise",
        f"{case}, {_told(few)}",
        list(map(float, short.mean(axis=1))),
        unit="points",
        clock="none",
        note=f"95 % over searches, with equal students and pairs: [{low:.2f}, {high:.2f}]",
    )


def _told(few: bool) -> str:
    return f"{FEW} trainings' epochs" if few else f"{TRIALS} trials"


def search(
    bank: Bank, roles: Sequence[str], pruning: dict[str, Any], seed: int, *, few: bool = False
) -> tuple[float, float]:
    """Return what the champions of a search lack to the best, and the epochs that it trained.

    The best of its trials, or with `few` of all students of the bank, by the mean over the roles;
    the epochs are a share of those of all trials.
    """
    order = drawn_of(bank, roles[0], seed)[0].tolist()
    drawn = {role: drawn_of(bank, role, seed)[1] for role in roles}
    numbers = order if few else order[:TRIALS]
    names = {role: f"val_{role}/miou" for role in roles}
    videos = {name: bank.videos[role][drawn[role]].tolist() for role, name in names.items()}
    held = {}
    for number in numbers:
        tiou = bank.students[number].tiou
        cut = {name: tiou[role][0][:, drawn[role]] for role, name in names.items()}
        held[number] = Student(tiou=cut, videos=videos)
    epochs = len(next(iter(held[numbers[0]].tiou.values())))
    spec = SearchSpec(
        name="race",
        space={"student": {"choice": numbers}},
        start_from=[{"student": number} for number in numbers],
        objectives=list(names.values()),
        sampler={"name": "random"},
        pruning=pruning,
        budget={"trials": len(numbers), "trainings": FEW if few else None},
        epochs=epochs,
        seed=seed,
    )
    run = Raced(spec, Students(held), World()).run()
    ended = [view for view in run.study.views() if view.state == "COMPLETE"]
    lacks = []
    for place, role in enumerate(roles):
        best = max(ended, key=lambda view: (view.objectives or [])[place])
        truth = {number: float(bank.students[number].truth[role][0]) for number in numbers}
        lacks.append(max(truth.values()) - truth[_number(best.values)])
    return float(np.mean(lacks)), run.epochs / (TRIALS * epochs)


def _number(values: Mapping[str, Value]) -> int:
    return int(values["student"] or 0)


def made_up(seed: int, *, students: int = 20, epochs: int = 14) -> Bank:
    """Return students that differ as little as those of the real subset at their end.

    Some learn faster than others, which early epochs take for better. What a pair adds to a
    student is half kept from epoch to epoch; what it adds to all cancels out.
    """
    draw = generator("close", seed)
    pairs, numbers = 3 * PAIRS, range(1, epochs + 1)
    level, speed = draw.normal(0, SPREAD, students), 3 * np.exp(draw.normal(0, 0.1, students))
    grown = 40 * (1 - np.exp(-np.divide.outer(numbers, speed).T)) + level[:, None]
    shared = draw.normal(0, 20.0, pairs)
    kept = draw.normal(0, OF_PAIRS / 2**0.5, (students, 1, pairs))
    own = kept + draw.normal(0, OF_PAIRS / 2**0.5, (students, epochs, pairs))
    tiou = grown[:, :, None] + shared + own - own.mean(axis=2, keepdims=True)
    videos = np.array([f"{pair // 3:03d}" for pair in range(pairs)])
    role = ROLES[0]
    return Bank(
        videos={role: videos},
        students=[
            Trained(tiou={role: tiou[None, n]}, truth={role: grown[[n], -1]})
            for n in range(students)
        ],
    )
