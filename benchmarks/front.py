"""Epochs until a search has found nearly all that recorded real curves hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from optuna import Trial

from benchmarks.baselines import asha
from benchmarks.rows import Aim, Row, row
from tune.config.space import suggest
from tune.config.study_file import StudyFile, load_study_file
from tune.simulation.curves import Curve, CurveTable, read_curves
from tune.simulation.simulator import simulate_search
from tune.study.ranking import hypervolume

RECORDED = Path(__file__).parent / "curves" / "charades-cd-clip.yaml"
SHARE = 0.95
"""Of the hypervolume of all that was recorded: above 0, as everywhere in a study, and above the
worst value recorded of each objective, where nothing is won by what every student reaches."""
WHY = """On 107 pairs of `val_ood` the noise from epoch to epoch (a deviation of 0.9) is as
large as what tells two students apart at their end (0.8). Above 0 a few whole students already
hold nearly all there is, and nobody can need fewer epochs than one of them. Above the worst,
most students on the recorded front are not among the best third at the first rung, after two
of nine epochs, so whoever prunes there, ASHA as well, must meet their like again and again."""

Points = list[list[float]]


def run(smoke: bool) -> Iterator[Row]:
    """Yield the epochs that others need over those that ours needs, one figure a seed."""
    seeds, trials = (2, 8) if smoke else (20, 60)
    table = read_curves(RECORDED.with_suffix(".json"))
    ours = _study(load_study_file(RECORDED), trials)
    both = table.objectives
    others: list[tuple[str, float | None, Callable[[int], Points]]] = [
        ("random, no pruning", 3.0, lambda s: _simulated(_plain(ours, "random"), table, s)),
        ("TPE, no pruning", 2.0, lambda s: _simulated(_plain(ours, "tpe"), table, s)),
        ("Ray's ASHA on the mean of both", 1.3, lambda s: _asha(ours, table, both, s)),
        ("Ray's ASHA on ID", None, lambda s: _asha(ours, table, both[:1], s)),
    ]
    found = [_simulated(ours, table, seed) for seed in range(seeds)]
    recorded = [[m[name] for name in both] for curve in table.curves for m in curve.metrics]
    worst = [min(column) for column in zip(*recorded, strict=True)]
    for case, bound, search in others:
        theirs = [search(seed) for seed in range(seeds)]
        for reference, above in (([0.0] * len(both), "above 0"), (worst, "above the worst")):
            needed, epochs = (
                [epochs_to(SHARE, points, recorded, reference) for points in searches]
                for searches in (found, theirs)
            )
            ratios = [count / median(needed) for count in epochs]
            note = (
                f"{median(epochs):.0f} epochs against {median(needed):.0f} [{min(needed)}, "
                f"{max(needed)}], {len(table.curves)} recorded curves"
            )
            aim = None if bound is None else Aim(at=">=", bound=bound)
            told = f"{case} / ours, volume {above}"
            yield row("front", told, ratios, clock="none", aim=aim, note=note)


def epochs_to(share: float, points: Points, recorded: Points, reference: Sequence[float]) -> int:
    """Return after how many points their volume is a share of the recorded; all where never.

    >>> epochs_to(0.5, [[1.0, 1.0], [0.5, 0.5], [2.0, 1.0]], [[2.0, 2.0]], [0.0, 0.0])
    3
    """

    def moved(all_points: Points) -> Points:
        return [
            [max(0.0, value - low) for value, low in zip(point, reference, strict=True)]
            for point in all_points
        ]

    wanted = share * hypervolume(moved(recorded))
    front: Points = []
    for count, point in enumerate(moved(points), 1):
        if any(all(a >= b for a, b in zip(known, point, strict=True)) for known in front):
            continue
        front.append(point)
        if hypervolume(front) >= wanted:
            return count
    return len(points)


def _study(recorded: StudyFile, trials: int) -> StudyFile:
    """Return the recorded study's space and students, with the sampler and pruner of any study."""
    settings = recorded.model_dump(mode="json", by_alias=True, exclude={"sampler", "pruning"})
    settings |= {"budget": {"trials": trials}, "workers": 2}
    return StudyFile.model_validate(settings)


def _plain(file: StudyFile, sampler: str) -> StudyFile:
    changes = {
        "sampler": file.sampler.model_copy(update={"name": sampler}),
        "pruning": file.pruning.model_copy(update={"name": "none"}),
    }
    return file.model_copy(update=changes)


def _simulated(file: StudyFile, table: CurveTable, seed: int) -> Points:
    """Return what each epoch of a search measured, in the order in which they ended."""
    run = simulate_search(file.model_copy(update={"seed": seed}).search_spec(), table)
    return [point for _, point in run.points]


def _asha(file: StudyFile, table: CurveTable, metrics: Sequence[str], seed: int) -> Points:
    fixed = file.fixed()

    def curve_of(trial: Trial) -> Curve:
        return table.nearest(suggest(file.space, trial, fixed))

    found = asha.search(
        curve_of,
        lambda measured: sum(measured[name] for name in metrics) / len(metrics),
        trials=file.budget.trials,
        epochs=file.training.epochs,
        grace=file.pruning.min_epochs,
        reduction=file.pruning.reduction,
        workers=file.workers,
        seed=seed,
    )
    return [[measured[name] for name in table.objectives] for measured in found]
