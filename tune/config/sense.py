"""What each key of a study file allows, but the file as a whole cannot mean.

These are asked of a file that is read, not of the launches that a study holds: what was begun
once is shown and repeated as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from tune.config.keys import put
from tune.config.metrics import COSTS, MEANS
from tune.config.pruners import pruner_fault
from tune.config.settings import EarlierStudy
from tune.config.space import Value, lowest
from tune.config.tuning import first_message

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile

Fault = tuple[tuple[str | int, ...], str]
"""The keys of a place in the file, and what is wrong there."""


def senseless(study: StudyFile) -> Iterator[Fault]:
    """Yield what a study file asks for that cannot be."""
    checks = (_pruning, _budget, _choices, _conditions, _points, _prior, _warm_start, _imported)
    for check in checks:
        yield from check(study)
    yield from _combinations(study)


def _pruning(study: StudyFile) -> Iterator[Fault]:
    pruning, epochs = study.pruning, study.training.epochs
    given = "min_epochs" in pruning.model_fields_set
    if pruning.resource != "epochs" and given:
        yield (
            ("pruning", "min_epochs"),
            f"{pruning.min_epochs} is the first rung in epochs, but rungs are counted in "
            f"{pruning.resource} from first={pruning.first:g}; remove one of resource and this",
        )
        return
    if pruning.resource == "money" and not _priced(study):
        yield (
            ("pruning", "resource"),
            "no trial would ever reach a rung: nothing that a trial holds has a price; give "
            "prices.cpu_hour" + (" or prices.gpu_hour" if study.resources.gpu else ""),
        )
    yield from _racing(study)
    if given and pruning.name != "none" and pruning.min_epochs >= epochs:
        yield (
            ("pruning", "min_epochs"),
            f"{pruning.min_epochs} is not below training.epochs={epochs}, so no trial would ever "
            "be judged; lower it, or give name: none",
        )
    elif pruning.options:
        found = pruner_fault(pruning, epochs)
        if found is not None:
            option, message = found
            yield ("pruning", "options", *([] if option is None else [option])), message
    if "training.epochs" in study.space:
        yield (
            ("space", "training.epochs"),
            "every trial has the same epochs, which pruning and budget count; fix it in training",
        )


def _racing(study: StudyFile) -> Iterator[Fault]:
    """Yield objectives of which a trial's pairs do not tell how sure they are."""
    if study.pruning.name != "paired_racing":
        return
    other = [name for name in study.objectives if name not in (*MEANS, *COSTS)]
    if other or not MEANS.keys() & set(study.objectives):
        yield (
            ("pruning", "name"),
            "paired_racing judges by the temporal IoU of each pair, and "
            f"{other[0] if other else 'no objective'} is {'no' if other else 'a'} mean of it; "
            f"race by {', '.join(MEANS)} (costs may stand beside them), or use pareto_halving",
        )


def _budget(study: StudyFile) -> Iterator[Fault]:
    budget, gpu = study.budget, study.resources.gpu
    most = budget.trials * study.replicates.seeds
    if budget.trainings is not None and budget.epochs is not None:
        yield (
            ("budget", "trainings"),
            f"says with epochs={budget.epochs} twice what the search may train; give one of them",
        )
    elif budget.trainings is not None and budget.trainings > most:
        yield (
            ("budget", "trainings"),
            f"{budget.trainings} would never be used up: trials={budget.trials} have {most} at "
            "most; raise trials, as most of them are pruned",
        )
    if budget.money is not None and not _priced(study):
        yield (
            ("budget", "money"),
            f"{budget.money:g} would never be used up: nothing that a trial holds has a price; "
            "give prices.cpu_hour" + (" or prices.gpu_hour" if gpu else ""),
        )
    if budget.gpu_hours is not None and not gpu:
        yield (
            ("budget", "gpu_hours"),
            f"{budget.gpu_hours:g} would never be used up: resources.gpu is 0; give the trials a "
            "GPU, or use cpu_hours",
        )


def _priced(study: StudyFile) -> bool:
    """Return whether a trial holds anything that has a price."""
    prices = study.prices
    return bool(prices.cpu_hour or (prices.gpu_hour and study.resources.gpu))


def _choices(study: StudyFile) -> Iterator[Fault]:
    for name, dimension in study.space.items():
        choice = dimension.choice or []
        for place, value in enumerate(choice):
            if value in choice[:place]:
                yield (
                    ("space", name, "choice", place),
                    f"{value!r} stands there twice: samplers cannot tell them apart; remove one",
                )


def _conditions(study: StudyFile) -> Iterator[Fault]:
    fixed = study.fixed()
    for name, dimension in study.space.items():
        for key, wanted in dimension.when.items():
            values = wanted if isinstance(wanted, list) else [wanted]
            if key in study.space:
                never = not any(study.space[key].contains(value) for value in values)
                now = "its range holds none of them"
            else:
                never, now = fixed.get(key) not in values, f"it is fixed to {fixed.get(key)!r}"
            if never:
                yield (
                    ("space", name, "when", key),
                    f"{wanted!r} never holds: {now}; change one of the two, or remove {name}",
                )


def _points(study: StudyFile) -> Iterator[Fault]:
    fixed = study.fixed()
    for place, point in enumerate(study.start_from):
        known = {**fixed, **point}
        for name in point:
            for key, wanted in study.space[name].when.items():
                values = wanted if isinstance(wanted, list) else [wanted]
                if key in known and known[key] not in values:
                    yield (
                        ("start_from", place, name),
                        f"is not in use at this point, where {key} is {known[key]!r}; remove it",
                    )


def _prior(study: StudyFile) -> Iterator[Fault]:
    prior = study.sampler.prior
    if isinstance(prior, EarlierStudy) and prior.points:
        yield (
            ("sampler", "prior", "points"),
            "a search itself stores them; remove them, or give start_from the points",
        )


def _warm_start(study: StudyFile) -> Iterator[Fault]:
    for place, path in enumerate(study.warm_start.studies):
        if not path.exists():
            yield ("warm_start", "studies", place), f"{path} does not exist; correct or remove it"


def _imported(study: StudyFile) -> Iterator[Fault]:
    needs = {"student_init": ("id_teacher", {"id"}), "teacher_cache": ("off", {"id", "ood"})}
    for name, (value, roles) in needs.items():
        key, held = f"distill.{name}", sorted(roles & set(study.imported))
        searched = key in study.space
        can_be = study.space[key].contains(value) if searched else study.fixed()[key] == value
        if held and can_be:
            yield (
                ("space", key) if searched else ("distill", name),
                f"{value} needs the network of the {held[0].upper()} teacher, which is imported "
                "and has none; take another value, or train that teacher here",
            )


def _combinations(study: StudyFile) -> Iterator[Fault]:
    """Build each section that has rules over several keys with every two values of its keys."""
    for section in ("backbone", "distill", "training"):
        settings: BaseModel = getattr(study, section)
        if not type(settings).__pydantic_decorators__.model_validators:
            continue
        own = {k: d for k, d in study.space.items() if k.startswith(f"{section}.")}
        own.pop("backbone.name", None)
        pairs = combinations(own, 2) if len(own) > 1 else ((name,) for name in own)
        for names in pairs:
            found = _pair(study, settings, section, names)
            if found is not None:
                point, message = found
                shown = ", ".join(f"{k}={v!r}" for k, v in point.items())
                yield (
                    ("space", names[-1]),
                    f"{shown} can be drawn, but {message}; change the range, or let a key depend "
                    "on the other by `when: {KEY: VALUES}`",
                )


def _pair(
    study: StudyFile, settings: BaseModel, section: str, names: tuple[str, ...]
) -> tuple[dict[str, Value], str] | None:
    """Return the first values of some keys that do not go together, and why."""
    fixed, space = study.fixed(), study.space
    held = {k: v for name in names for k, v in space[name].conditions().items()}
    content = settings.model_dump(mode="json")
    for values in product(*(space[name].tried() for name in names)):
        point = lowest(space, {**held, **dict(zip(names, values, strict=True))}, fixed)
        if not all(space[name].active({**fixed, **point}) for name in names):
            continue
        made = {section: {**content}}
        for key, value in point.items():
            if key.startswith(f"{section}."):
                _put(made, key, value)
        try:
            type(settings).model_validate(made[section])
        except ValidationError as error:
            return dict(zip(names, values, strict=True)), first_message(error)
    return None


def _put(made: dict[str, Any], key: str, value: Value) -> None:
    *parents, _ = key.split(".")
    level: dict[str, Any] = made
    for parent in parents:  # what a section holds is not to be changed
        level[parent] = dict(level.get(parent) or {})
        level = level[parent]
    put(made, key, value)
