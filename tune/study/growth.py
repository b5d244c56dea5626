"""How a launch goes on from others: what may change, and the points that it tries first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from refkd.distill.config import DistillConfig
from refkd.errors import RefKDError
from refkd.training.config import TrainingConfig
from tune.config.space import Value, Values, flat
from tune.config.study_file import StudyFileError
from tune.study.ranking import best_first
from tune.study.snapshot import open_snapshot
from tune.study.view import CONTINUES

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.config.study_file import StudyFile
    from tune.study.launch import Launch
    from tune.study.search_study import SearchStudy


def check_growth(spec: SearchSpec, launches: Sequence[Launch]) -> None:
    """Refuse what would falsify earlier trials; `RefKDError` names the key and the reason.

    More trials, more epochs, other ranges of numbers, new keys in the space, another sampler or
    pruner are welcome. Fewer epochs, another kind of range or other choices for a known key, and
    other fixed settings, replicates or constraints are not.
    """
    for launch in launches:
        for conflict in _conflicts(spec, launch):
            raise RefKDError(f"{conflict} give the changed study another name")


def _conflicts(spec: SearchSpec, launch: Launch) -> Iterator[str]:
    """Yield what cannot be compared with a launch's trials, up to the remedy."""
    number = launch.number
    if spec.epochs < launch.epochs:
        yield (
            f"training.epochs is {spec.epochs}, but launch {number} trained "
            f"{launch.epochs}: values of fewer epochs cannot be compared;"
        )
    earlier = launch.spec
    for name in ("replicates", "constraints"):
        if getattr(spec, name) != getattr(earlier, name):
            yield (
                f"{name} differs from that of launch {number}: earlier trials were judged "
                "otherwise and cannot be compared;"
            )
    for name, before in earlier.space.items():
        now = spec.space.get(name, before)
        if before.label != now.label:
            yield (
                f"space.{name} is now a {now.label}, in launch {number} it was a {before.label}; "
                "only the bounds of a range may change, so"
            )
        elif before.choice != now.choice:
            yield (
                f"space.{name} has the choices {now.choice}, in launch {number} it had "
                f"{before.choice}; the sampler cannot compare them, so"
            )
    fixed = dict(spec.fixed)
    if "training.epochs" in fixed:
        fixed["training.epochs"] = launch.epochs
    for name, held in earlier.fixed.items():
        if fixed.get(name, held) != held:
            yield (
                f"{name} is now {fixed[name]!r}, in launch {number} it was {held!r}: "
                "earlier trials were trained otherwise; put it into the space, or"
            )


def continue_survivors(study: SearchStudy) -> list[int]:
    """Queue complete trials of fewer epochs again: Optuna's own never change once they ended."""
    views = study.views()
    known = {v.attributes[CONTINUES] for v in views if v.continues}
    grown = []
    for view in views:
        epochs = int(view.attributes.get("epochs", view.epoch))
        shorter = view.state == "COMPLETE" and epochs < study.spec.epochs
        if shorter and view.number not in known:
            used = {**view.last, **view.kept}
            inherited = {
                CONTINUES: view.number,
                "inherited": view.epoch,
                "inherited_cpu_seconds": used.get("cost/cpu_seconds", 0.0),
                "inherited_wall_seconds": used.get("cost/wall_seconds", 0.0),
            }
            before = study.launches.once_fixed(study.spec.space, view.values)
            study.queue.put({**before, **view.values}, inherited)
            grown.append(view.number)
    return grown


def warm_points(file: StudyFile) -> list[Values]:
    """Return the points of `warm_start` inside the space, each once; the paper's come first."""
    points: list[Values] = []
    if file.warm_start.paper:
        sections = {"distill": DistillConfig(), "training": TrainingConfig()}
        defaults = {name: section.model_dump(mode="json") for name, section in sections.items()}
        points.append(_inside(file, flat(defaults)))
    for path in file.warm_start.studies:
        views = open_snapshot(path).trials
        found = [p for trial in best_first(views) if (p := _inside(file, trial.values))]
        if views and not found:
            raise StudyFileError(
                f"warm_start.studies: {path} has no complete trial with a value inside this "
                "space; remove it, or wait until it has one"
            )
        points += found[: file.warm_start.top]
    return [p for n, p in enumerate(points) if p and p not in points[:n]]


def _inside(file: StudyFile, values: Mapping[str, Value]) -> Values:
    """Return the values of the keys in the space whose range holds them."""
    return {
        name: values[name]
        for name, dimension in file.space.items()
        if name in values and dimension.contains(values[name])
    }
