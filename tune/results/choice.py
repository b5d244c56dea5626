"""Which trials become finalists, on which seeds, and which of them are selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import count, islice
from typing import Any

from refkd.seeds import derive_seed
from tune.config.study_file import StudyFile
from tune.study.events import FinalistTrained, SeedResult, study_events
from tune.study.summary import CHAMPIONS
from tune.study.view import TrialView, current

BALANCED = "val/harmonic_miou"
"""Harmonic mean of `val_id/miou` and `val_ood/miou`."""
ALIASES = {**CHAMPIONS, "best-balanced": BALANCED}
"""Metric that a champion among the finalists is the best in, by alias."""
COST = "cost/cpu_seconds"


def read_results(attributes: Mapping[str, Any]) -> dict[tuple[int, int], SeedResult]:
    """Return the results of the finalists' students, by trial and replicate."""
    names = [one.name for one in fields(SeedResult)]
    return {
        (one.trial, one.replicate): SeedResult(**{name: getattr(one, name) for name in names})
        for one in study_events(attributes, FinalistTrained)
    }


def choose(views: Sequence[TrialView], objectives: Sequence[str], *, top: int) -> list[TrialView]:
    """Return the `top` trials by each objective and by the harmonic mean, each once, by number.

    Only complete trials that keep their constraints count, and of those that continue each other
    the last. Ties go to fewer CPU seconds, then to the lower number.
    """
    names = (*objectives, BALANCED)
    counting = [v for v in current(views) if v.feasible and all(n in v.kept for n in names)]
    chosen: dict[int, TrialView] = {}
    for name in names:
        places = {v.number: _place(v.number, v.kept, name) for v in counting}
        best = sorted(counting, key=lambda view: places[view.number])[:top]
        chosen |= {view.number: view for view in best}
    return [chosen[number] for number in sorted(chosen)]


def fresh_seeds(file: StudyFile, wanted: int) -> list[int]:
    """Return seeds of the finalists: the same at every call, none of them the search's."""
    used = set(file.seeds())
    drawn = (derive_seed(file.seed, "finalists", i) % (1 << 31) for i in count())
    return list(islice((seed for seed in drawn if seed not in used), wanted))


def best_seed(runs: Sequence[SeedResult], metric: str) -> int:
    """Return which of a finalist's students is the best on a metric, counted from 0."""
    return max(range(len(runs)), key=lambda k: (runs[k].metrics[metric], -k))


def winners(means: Mapping[int, Mapping[str, float]]) -> dict[str, int]:
    """Return the champion of each alias from the finalists' means; ties as in `choose`."""
    return {
        alias: min(_place(number, metrics, metric) for number, metrics in means.items())[-1]
        for alias, metric in ALIASES.items()
    }


def _place(number: int, metrics: Mapping[str, float], name: str) -> tuple[float, float, int]:
    """Return a sort key that is lowest for the best on a metric."""
    return -metrics[name], metrics.get(COST, 0.0), number
