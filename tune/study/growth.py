"""How a launch goes on from others: what may change, and the points that it tries first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from refkd.distill.config import DistillConfig
from refkd.errors import RefKDError
from refkd.training.config import TrainingConfig
from refkd.urls import Url
from tune.config.settings import EarlierStudy
from tune.config.space import Values, flat
from tune.config.study_file import StudyFileError
from tune.study.launch import read_launches
from tune.study.locate import NoStudyError, StudyPlace
from tune.study.opening import open_study
from tune.study.prior_sampler import inside
from tune.study.ranking import best_first, front_of
from tune.study.snapshot import open_snapshot
from tune.study.view import CONTINUES

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.config.study_file import StudyFile
    from tune.study.launch import Launch
    from tune.study.search_study import SearchStudy

MOST = 20
"""Trials of an earlier study that a prior rests on."""


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
        points.append(inside(file.space, flat(defaults)))
    for path in file.warm_start.studies:
        views = open_snapshot(path).trials
        found = [p for trial in best_first(views) if (p := inside(file.space, trial.values))]
        if views and not found:
            raise StudyFileError(
                f"warm_start.studies: {path} has no complete trial with a value inside this "
                "space; remove it, or wait until it has one"
            )
        points += found[: file.warm_start.top]
    return [p for n, p in enumerate(points) if p and p not in points[:n]]


def with_prior(
    spec: SearchSpec, place: StudyPlace, dataset: str | None = None
) -> tuple[SearchSpec, list[str]]:
    """Return a search with the points of the study that its prior names, and what to know of it.

    The points that the study at `place` holds of an earlier launch are kept, so that a restart
    proposes the same. Else they are those of the front and of the best quarter of the complete
    trials, `MOST` at most. `dataset` is the fingerprint of this search's. Raises `RefKDError`
    where the other study cannot be read, or has no complete trial with a value inside the space.
    """
    prior, said = spec.sampler.prior, list[str]()
    if isinstance(prior, dict):
        return spec, said
    points = _held(prior, place)
    if not points:
        points, said = _best_points(prior, spec, dataset)
    found = spec.sampler.model_copy(update={"prior": prior.model_copy(update={"points": points})})
    return spec.model_copy(update={"sampler": found}), said


def _held(prior: EarlierStudy, place: StudyPlace) -> list[Values]:
    """Return the points that the last launch with the same prior has stored."""
    try:
        launches = read_launches(open_study(place).user_attrs)
    except NoStudyError:
        return []
    priors = [launch.settings.sampler.prior for launch in reversed(launches)]
    known = [p for p in priors if isinstance(p, EarlierStudy) and str(p.study) == str(prior.study)]
    return known[0].points if known else []


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys))


def _best_points(
    prior: EarlierStudy, spec: SearchSpec, dataset: str | None
) -> tuple[list[Values], list[str]]:
    """Return values of the best trials of an earlier study, and how it differs from a search."""
    name = f"sampler.prior: {prior.study}"
    where = prior.study.reveal() if isinstance(prior.study, Url) else prior.study
    try:
        earlier = open_snapshot(where)
    except RefKDError as error:
        raise StudyFileError(f"{name} cannot be read: {error}") from None
    counting = [trial for trial in best_first(earlier.trials) if trial.feasible]
    most = max(len(front_of(counting)), math.ceil(len(counting) / 4))
    best = [dict(trial.values) for trial in counting[: min(most, MOST)]]
    points = [point for point in best if inside(spec.space, point)]
    if not points:
        raise StudyFileError(
            f"{name} has no complete trial with a value inside this space; remove it, or wait "
            "until it has one"
        )
    said = [f"{name}: begins near {len(points)} of its {len(counting)} complete trials"]
    known = {key for point in points for key in point} & spec.space.keys()
    if outside := {k for k in known for p in points if k in p and k not in inside(spec.space, p)}:
        said.append(f"{name}: values of {_listed(outside)} outside this space are left out")
    if unknown := spec.space.keys() - known:
        said.append(f"{name}: has not searched {_listed(unknown)}, which stay random")
    facts = earlier.attributes
    if dataset is not None and facts.get("dataset") not in (None, dataset):
        said.append(f"{name}: was searched on another dataset")
    own = facts.get("objectives"), facts.get("minimize", [])
    if own[0] is not None and own != (spec.objectives, spec.minimize):
        told = ", ".join(own[0])
        said.append(f"{name}: which trials are its best is told by its own objectives, {told}")
    return points, said
