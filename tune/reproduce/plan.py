"""What a table would cost, before anything runs."""

from __future__ import annotations

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.training.student import StudentConfig
from refkd.training.timing import epoch_of_student, epoch_of_teacher
from tune.reproduce.request import Request
from tune.reproduce.units import Unit, epochs_of


class Estimate(Config):
    """What is left to train, and how long it takes."""

    networks: int
    """In all, each once."""
    done: int
    epochs: int
    """Of those that are left."""
    cpu_hours: float
    wall_hours: float
    """With so many workers as were asked for."""


def plan(request: Request) -> Estimate:
    """Measure an epoch of each kind of network that is left, and add up."""
    _, _, dataset, units = request.open()
    left = units.left()
    seconds: dict[tuple[str, bool], float] = {}
    total = 0.0
    for unit in left:
        kind = (unit.config.backbone.model_dump_json() + _recipe(unit), bool(unit.teachers))
        if kind not in seconds:
            seconds[kind] = _seconds(unit, dataset)
        total += seconds[kind] * unit.epochs
    return Estimate(
        networks=len(units.all()),
        done=len(units.all()) - len(left),
        epochs=epochs_of(left),
        cpu_hours=total / 3600.0,
        wall_hours=total / 3600.0 / max(1, min(request.workers, len(left))),
    )


def _seconds(unit: Unit, dataset: Dataset) -> float:
    """Return how long an epoch of a network takes here."""
    if isinstance(unit.config, StudentConfig):
        return epoch_of_student(unit.config, dataset)
    return epoch_of_teacher(unit.config, dataset)


def _recipe(unit: Unit) -> str:
    recipe = getattr(unit.config, "recipe", None)
    return "" if recipe is None else str(recipe.model_dump_json())
