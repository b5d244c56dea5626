"""Points that are tried first: the paper's, and the best of other studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refkd.distill.config import DistillConfig
from refkd.training.config import TrainingConfig
from tune.config.space import Value, Values, flat
from tune.config.study_file import StudyFileError
from tune.study.snapshot import open_snapshot
from tune.study.view import TrialView, current

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile


def warm_points(file: StudyFile) -> list[Values]:
    """Return the points of `warm_start`, those of the paper first; inside the space, each once.

    Of another study its best trials are taken, those on its front first, with the values of the
    keys that both spaces have. Raises `StudyFileError` where such a study shares none.
    """
    points: list[Values] = []
    if file.warm_start.paper:
        sections = {"distill": DistillConfig(), "training": TrainingConfig()}
        defaults = {name: section.model_dump(mode="json") for name, section in sections.items()}
        points.append(_inside(file, flat(defaults)))
    for path in file.warm_start.studies:
        points += _points_of(file, path)
    return [p for n, p in enumerate(points) if p and p not in points[:n]]


def _points_of(file: StudyFile, path: Path) -> list[Values]:
    views = open_snapshot(path).trials
    points = [_inside(file, trial.values) for trial in _best_first(views)]
    found = [point for point in points if point]
    if views and not found:
        raise StudyFileError(
            f"warm_start.studies: {path} has no complete trial with a value inside this space; "
            "remove it, or wait until it has one"
        )
    return found[: file.warm_start.top]


def _best_first(views: Sequence[TrialView]) -> list[TrialView]:
    """Order complete trials by their front, then by the sum of their objectives."""
    import moocore
    import numpy as np

    complete = [v for v in current(views) if v.objectives]
    if not complete:
        return []
    values = np.array([v.objectives for v in complete], dtype=np.float64)
    order = np.lexsort((-values.sum(axis=1), moocore.pareto_rank(values, maximise=True)))
    return [complete[i] for i in order]


def _inside(file: StudyFile, values: Mapping[str, Value]) -> Values:
    """Return the values of the keys in the space whose range holds them."""
    return {
        name: values[name]
        for name, dimension in file.space.items()
        if name in values and dimension.contains(values[name])
    }
