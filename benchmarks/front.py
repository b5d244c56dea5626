"""Epochs until a search has found nearly all that recorded real curves hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.baselines import asha
from benchmarks.rows import Aim, Row, row
from tune.simulation.curves import Curve, CurveTable, read_curves
from tune.simulation.simulator import simulate_search
from tune.spec.space import Suggests, suggest
from tune.spec.study_file import StudyFile, load_study_file
from tune.study.budget import hypervolume

RECORDED = Path(__file__).parent / "curves" / "charades-cd-clip.yaml"
SHARE = 0.95
"""Of the hypervolume of all that was recorded, above 0 as everywhere in a study."""
WHY = """The curves are of 107 to 193 validation pairs, and their noise from epoch to epoch is as
large as the distance between most students: the first rung, after two of nine epochs, can tell bad
students from good ones, but not the best from the good."""

Points = Iterable[Sequence[float]]


def run(smoke: bool) -> Iterator[Row]:
    """Yield the epochs that others need over those that ours needs, one figure a seed."""
    seeds, trials = (2, 8) if smoke else (20, 60)
    table = read_curves(RECORDED.with_suffix(".json"))
    ours = _study(load_study_file(RECORDED), trials)
    needed = [_ours(ours, table, seed) for seed in range(seeds)]
    told = f"{median(needed):.0f} epochs [{min(needed)}, {max(needed)}]"
    cases: list[tuple[str, float | None, Callable[[int], int]]] = [
        ("random, no pruning", 3.0, lambda s: _ours(_plain(ours, "random"), table, s)),
        ("TPE, no pruning", 2.0, lambda s: _ours(_plain(ours, "tpe"), table, s)),
        ("Ray's ASHA on the mean of both", 1.3, lambda s: _asha(ours, table, table.objectives, s)),
        ("Ray's ASHA on ID", None, lambda s: _asha(ours, table, table.objectives[:1], s)),
    ]
    for case, bound, others in cases:
        epochs = [others(seed) for seed in range(seeds)]
        ratios = [found / median(needed) for found in epochs]
        note = f"{median(epochs):.0f} epochs against {told}, {len(table.curves)} recorded curves"
        aim = None if bound is None else Aim(at=">=", bound=bound)
        yield row("front", f"{case} / ours", ratios, clock="none", aim=aim, note=note)


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


def _ours(file: StudyFile, table: CurveTable, seed: int) -> int:
    run = simulate_search(file.model_copy(update={"seed": seed}), table)
    return _epochs([point for _, point in run.points], table)


def _asha(file: StudyFile, table: CurveTable, metrics: Sequence[str], seed: int) -> int:
    fixed = file.fixed()

    def curve_of(trial: Suggests) -> Curve:
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
    return _epochs(([m[name] for name in table.objectives] for m in found), table)


def _epochs(points: Points, table: CurveTable) -> int:
    """Return how many epochs were measured until the volume was found, or all there were."""
    recorded = [[m[n] for n in table.objectives] for c in table.curves for m in c.metrics]
    wanted = SHARE * hypervolume(recorded)
    front: list[Sequence[float]] = []
    measured = 0
    for point in points:
        measured += 1
        if any(all(a >= b for a, b in zip(known, point, strict=True)) for known in front):
            continue
        front.append(point)
        if hypervolume(front) >= wanted:
            break
    return measured
