"""Methods of search, judged on tables of learning curves by the hypervolume that they lack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Trial
from scipy.stats import rankdata, wilcoxon

from benchmarks.baselines import asha, primo
from benchmarks.bbob import bbob_table
from benchmarks.tables import Floats, Table, read_table, spec_of
from tune.config.space import suggest
from tune.simulation.simulator import simulate_search

TRAININGS, WORKERS = 20, 4
"""The budget in whole trainings, and how many run at once."""
STEPS = 200
"""Places of a regret curve that are kept."""
Settings = Mapping[str, Mapping[str, Any]]
METHODS: Mapping[str, Settings] = {
    "random": {"sampler": {"name": "random"}, "pruning": {"name": "none"}},
    "tpe": {"sampler": {"name": "tpe"}, "pruning": {"name": "none"}},
    "nsga2": {"sampler": {"name": "nsga2"}, "pruning": {"name": "none"}},
    "gp": {"sampler": {"name": "gp"}, "pruning": {"name": "none"}},
    "random/promote": {"sampler": {"name": "random"}, "pruning": {"type": "promote"}},
    "random/stop": {"sampler": {"name": "random"}, "pruning": {"type": "stop"}},
    "tpe/promote": {"sampler": {"name": "tpe"}, "pruning": {"type": "promote"}},
    "tpe/stop": {"sampler": {"name": "tpe"}, "pruning": {"type": "stop"}},
    "default": {},
}
"""Settings of a study file's sections; those that are left out are the defaults."""
RAY = "ray's ASHA on the mean"
PRIMO = "primo"
RANDOM, BASE = "random", "random/promote"
"""What everybody must beat, and what this project must: multi-objective ASHA is the second."""
HEADS = (
    *("method", "area", "worst table", "complete alone", "share"),
    *("25 %", "50 %", "100 %", "rank", "p", "complete trials"),
)
"""Columns of the table that is printed."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """One search on one table."""

    table: str
    method: str
    seed: int
    area: float
    """Mean regret over the budget."""
    whole_area: float
    """The same where complete trials alone count."""
    regret: tuple[float, float, float]
    """After 25, 50 and 100 % of the budget."""
    curve: list[float]
    complete: int


Points = list[tuple[int, list[float]]]
"""What was measured, each with the epochs trained until then."""
Problem = Path | int
"""A table's file, or the number of a function of bbob-biobj."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a method is worth beside multi-objective ASHA; ratios are geometric means."""

    method: str
    area: float
    mean: float
    """Regret over the budget and all searches, which is no ratio."""
    worst_table: float
    whole_area: float
    share: float
    """Of the budget, until the regret is as low as that of random search at its end; the mean over
    tables, 1 where it never is."""
    regret: tuple[float, float, float]
    rank: float
    p: float
    """Of the paired Wilcoxon test on the areas, over tables and seeds."""
    complete: float
    """Complete trials of a search."""
    by_table: dict[str, float]
    """Ratio of the areas."""

    def facts(self) -> dict[str, Any]:
        """Return what a line of JSON holds."""
        return {"name": "front", **asdict(self)}


@cache
def _table(problem: Problem) -> Table:
    return bbob_table(problem) if isinstance(problem, int) else read_table(problem)


def play(problem: Problem, method: str, seed: int, neps: Path | None = None) -> Played:
    """Search a table with a method; `neps` is the interpreter that PriMO needs."""
    table = _table(problem)
    budget = TRAININGS * table.epochs
    if method == RAY:
        points, ends = list(_ray(table, seed, budget)), Points()
    elif method == PRIMO:
        assert neps is not None
        points, ends = _primo(table, seed, budget, neps)
    else:
        spec = spec_of(table, seed=seed, trainings=TRAININGS, workers=WORKERS, **METHODS[method])
        run = simulate_search(spec, table)
        points, ends = run.points, run.ends
    curve, whole = table.regret(points, budget), table.regret(ends, budget)
    kept = curve[np.linspace(0, budget - 1, STEPS).astype(int)]
    return Played(
        table=table.name,
        method=method,
        seed=seed,
        area=float(curve.mean()),
        whole_area=float(whole.mean()),
        regret=(float(curve[budget // 4]), float(curve[budget // 2]), float(curve[-1])),
        curve=kept.tolist(),
        complete=len(ends),
    )


def _ray(table: Table, seed: int, budget: int) -> Iterator[tuple[int, list[float]]]:
    def curve_of(trial: Trial) -> Any:
        return table.nearest(suggest(table.space, trial, {}))

    def mean(measured: Mapping[str, float]) -> float:
        return sum(measured.values()) / len(measured)

    settings = {"grace": 2, "reduction": 3, "workers": WORKERS, "seed": seed}
    found = asha.search(curve_of, mean, trials=budget, epochs=table.epochs, **settings)
    for spent, measured in enumerate(islice(found, budget), 1):
        yield spent, list(measured.values())


def _primo(table: Table, seed: int, budget: int, neps: Path) -> tuple[Points, Points]:
    settings = {"first_rung": 2, "reduction": 3, "workers": WORKERS, "seed": seed}
    found = primo.search(neps, table.nearest, table.space, epochs=table.epochs, **settings)
    points, ends = Points(), Points()
    with closing(found):
        for spent, (last, measured) in enumerate(islice(found, budget), 1):
            points.append((spent, measured))
            ends += [(spent, measured)] if last else []
    return points, ends


def tables_in(folder: Path) -> list[Path]:
    """Return the tables of a folder; `ValueError` where it has none."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise ValueError(f"{folder}: holds no table (*.npz)")
    return paths


def judge(
    problems: Sequence[Problem],
    *,
    seeds: int,
    methods: Sequence[str] = (),
    neps: Path | None = None,
    tell: Callable[[Played], None] = lambda _: None,
) -> list[Verdict]:
    """Search every problem with some methods, or all, and weigh them.

    Random search and multi-objective ASHA are always among them, PriMO where `neps` is given.
    """
    every = [*METHODS, RAY, *([] if neps is None else [PRIMO])]
    chosen = dict.fromkeys([RANDOM, BASE, *(methods or every)])
    asked = zip(*product(problems, chosen, range(seeds), [neps]), strict=True)
    played = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for one in pool.map(play, *asked, chunksize=4):
            tell(one)
            played.append(one)
    return [verdict(method, played) for method in chosen]


def verdict(method: str, played: Iterable[Played]) -> Verdict:
    """Weigh a method by all that was played."""
    by = {(p.method, p.table, p.seed): p for p in played}
    cells = sorted({key[1:] for key in by})
    own, base = ([by[(name, *cell)] for cell in cells] for name in (method, BASE))
    ratios = np.log([a.area / b.area for a, b in zip(own, base, strict=True)])
    whole = np.log([a.whole_area / b.whole_area for a, b in zip(own, base, strict=True)])
    tables = np.array([one.table for one in own])
    names = sorted(set(tables.tolist()))
    methods = sorted({key[0] for key in by})
    ranks = [
        rankdata([by[(name, *cell)].area for name in methods])[methods.index(method)]
        for cell in cells
    ]
    shares = []
    for name in names:
        rows = [one for one in own if one.table == name]
        ends = [by[(RANDOM, name, one.seed)].curve[-1] for one in rows]
        mean: Floats = np.mean([one.curve for one in rows], axis=0)
        below = np.flatnonzero(mean <= np.mean(ends))
        shares.append(float(below[0] / STEPS) if len(below) else 1.0)
    by_table = {name: float(np.exp(ratios[tables == name].mean())) for name in names}
    same = method == BASE
    return Verdict(
        method=method,
        area=float(np.exp(ratios.mean())),
        mean=float(np.mean([one.area for one in own])),
        worst_table=max(by_table.values()),
        whole_area=float(np.exp(whole.mean())),
        share=float(np.mean(shares)),
        regret=tuple(np.mean([one.regret for one in own], axis=0).tolist()),
        rank=float(np.mean(ranks)),
        p=1.0 if same else float(wilcoxon(ratios).pvalue),
        complete=float(np.mean([one.complete for one in own])),
        by_table=by_table,
    )


def told(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as a table in Markdown, the best first."""
    rows: list[tuple[str, ...]] = [HEADS]
    for one in sorted(verdicts, key=lambda v: v.area):
        figures = [one.area, one.worst_table, one.whole_area, one.share]
        regrets = [f"{value:.3f}" for value in one.regret]
        cells = [f"{figure:.3f}" for figure in figures]
        p = "" if one.method == BASE else f"{one.p:.1g}"
        last = (f"{one.rank:.2f}", p, f"{one.complete:.1f}")
        rows.append((one.method, *cells, *regrets, *last))
    widths = [max(2, *map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])))
    return "\n".join(
        f"| {name.ljust(widths[0])} | {' | '.join(map(str.rjust, cells, widths[1:]))} |"
        for name, *cells in rows
    )
