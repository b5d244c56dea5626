"""Ranking at a rung: the quick ways give what the plain definitions give."""

from __future__ import annotations

from typing import get_args

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.study.pruners import Tie, crowding_distances, ranks
from tune.study.ranking import non_dominated

few = st.integers(0, 5).map(float)
"""Of few values, so that rows are equal in one objective or in all."""
any_number = st.one_of(few, st.floats(-1e6, 1e6, allow_subnormal=False))
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(
        st.lists(any_number, min_size=width, max_size=width), min_size=1, max_size=24
    )
)


def peeled(rows: list[list[float]]) -> list[int]:
    """Fronts by their definition."""
    fronts, left, front = [-1] * len(rows), set(range(len(rows))), 0
    while left:
        best = {i for i in left if not any(dominates(rows[j], rows[i]) for j in left)}
        for i in best:
            fronts[i] = front
        left, front = left - best, front + 1
    return fronts


def dominates(a: list[float], b: list[float]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def crowded(rows: list[list[float]], fronts: list[int]) -> list[float]:
    """Crowding distances by their definition; neighbours are the next other values."""
    found = [0.0] * len(rows)
    for i, row in enumerate(rows):
        mates = [r for r, front in zip(rows, fronts, strict=True) if front == fronts[i]]
        for column, value in enumerate(row):
            values = [mate[column] for mate in mates]
            above = [v for v in values if v > value]
            below = [v for v in values if v < value]
            if not above and not below:
                continue
            if not above or not below:
                found[i] = np.inf
            else:
                found[i] += (min(above) - max(below)) / (max(values) - min(values))
    return found


@given(tables)
def test_fronts_are_those_of_the_definition(rows: list[list[float]]) -> None:
    assert moocore.pareto_rank(np.array(rows), maximise=True).tolist() == peeled(rows)


@given(tables)
def test_the_front_of_a_look_is_the_first_of_them(rows: list[list[float]]) -> None:
    assert non_dominated(np.array(rows)).tolist() == [front == 0 for front in peeled(rows)]


@given(tables.filter(lambda rows: len(rows[0]) > 1))
def test_crowding_is_that_of_the_definition(rows: list[list[float]]) -> None:
    fronts = peeled(rows)
    assert crowding_distances(np.array(rows), np.array(fronts)).tolist() == crowded(rows, fronts)


@pytest.mark.parametrize("tie", get_args(Tie))
@given(rows=tables, data=st.data())
def test_the_rank_of_one_is_that_among_all(
    tie: Tie, rows: list[list[float]], data: st.DataObject
) -> None:
    numbers = data.draw(st.permutations(range(0, 3 * len(rows), 3)))
    points = dict(zip(numbers, rows, strict=True))
    ranked = ranks(points, tie=tie)
    assert {n: ranks(points, [n], tie=tie)[n] for n in points} == ranked


@pytest.mark.parametrize("tie", get_args(Tie))
def test_equals_in_one_objective_have_one_rank(tie: Tie) -> None:
    found = ranks({0: [1.0], 1: [2.0], 2: [1.0]}, tie=tie)
    assert [found[n] for n in range(3)] == [1, 0, 1]


def test_of_a_front_the_least_crowded_come_first() -> None:
    found = ranks({0: [0.0, 10.0], 1: [1.0, 9.0], 2: [5.0, 5.0], 3: [10.0, 0.0]})
    assert [found[n] for n in range(4)] == [0, 3, 2, 0]


@pytest.mark.parametrize("tie", get_args(Tie))
def test_those_that_are_ahead_come_first_in_their_front_alone(tie: Tie) -> None:
    points = {0: [0.0, 9.0], 1: [2.0, 8.0], 2: [9.0, 0.0], 3: [1.0, 7.0], 4: [8.0, 0.0]}
    found = ranks(points, tie=tie, ahead=[1, 4])
    assert [found[n] for n in (1, 4)] == [0, 3], "trial 1 of the first front, trial 4 of the next"
    assert min(found[n] for n in (0, 2)) == 1
    assert found[3] == 4
    assert ranks({0: [1.0], 1: [2.0], 2: [1.0]}, tie=tie, ahead=[2]) == {0: 2, 1: 0, 2: 1}
