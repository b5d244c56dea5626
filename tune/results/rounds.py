"""Which students of finalists are trained next: seeds are spent where they decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from refkd.evaluation.standing import Standing

Place = tuple[int, int]
"""A finalist's student: its trial, and which of the fresh seeds, counted from 0."""
FIRST = 3
"""Seeds of every finalist before any is left out: of fewer, the spread is hardly known."""


def next_round(
    counts: Mapping[int, int],
    standings: Callable[[], Iterable[Standing]],
    *,
    most: int,
    sure: float | None,
) -> list[Place]:
    """Return the students of all finalists first, then, seed by seed, of those in doubt.

    `counts` are the seeds that each finalist has had, of `most`; `standings` are those of all
    champions by them. In doubt are the fewest trials that hold a champion's best with the
    probability `sure`, or all where no standing is known; without it all seeds are trained at
    once.
    """
    if not any(counts.values()):
        first = most if sure is None else min(FIRST, most)
        return [(number, k) for k in range(first) for number in counts]
    if sure is None:
        return []
    sets = [one.in_doubt(sure) for one in standings()] or [list(counts)]
    doubted = {number for some in sets if len(some) > 1 for number in some}
    return [(number, k) for number, k in counts.items() if number in doubted and k < most]
