"""A request for a table or figure, checked before anything runs, and an estimate of its cost."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.student import StudentConfig
from refkd.training.timing import epoch_of_student, epoch_of_teacher
from refkd.urls import Url
from tune.config.limits import Resources
from tune.reproduce.experiments import Experiment, experiments
from tune.reproduce.scales import SCALES, Scale
from tune.reproduce.units import Units, units_of


@dataclass(frozen=True, kw_only=True)
class Request:
    """A table or figure to make, and how."""

    name: str
    dataset: Path
    scale: str = "small"
    workspace: Path = Path("runs")
    workers: int = 2
    resources: Resources = field(default_factory=Resources)
    seeds: int | None = None
    """Instead of the scale's."""
    epochs: int | None = None
    """Of every network, instead of the scale's."""
    out: Path | None = None
    tracking: Url | None = None
    """MLflow's URI; None for the workspace's own store."""
    final: bool = False
    """Score the sealed test roles instead of validation."""
    again: bool = False
    reason: str | None = None

    def open(self) -> tuple[Experiment, Scale, Dataset, Units]:
        """Return what the names stand for; `RefKDError` where one is not known."""
        if self.name not in experiments():
            raise RefKDError(f"{self.name!r} is none of {', '.join(experiments())}")
        if self.scale not in SCALES:
            raise RefKDError(f"scale {self.scale!r} is none of {', '.join(SCALES)}")
        if self.again and not self.final:
            raise RefKDError("--again is about the test roles: it goes with --final")
        scale = SCALES[self.scale]
        if self.seeds is not None:
            scale = replace(scale, seeds=self.seeds)
        if self.epochs is not None:
            scale = scale.with_epochs(self.epochs)
        dataset = Dataset.open(self.dataset)
        chosen = experiments(scale.sweep)[self.name]
        return chosen, scale, dataset, units_of(chosen, scale, dataset, self.workspace)

    @property
    def command(self) -> str:
        """What to type for the same table, on a dataset folder of the same name."""
        given = {"seeds": self.seeds, "epochs": self.epochs, "reason": self.reason}
        options = [f"--{name} {shlex.quote(str(v))}" for name, v in given.items() if v is not None]
        flags = [f"--{name}" for name in ("final", "again") if getattr(self, name)]
        start = f"refkd reproduce {self.name} --dataset {shlex.quote(self.dataset.name)}"
        return " ".join([start, f"--scale {self.scale}", *options, *flags])

    @property
    def title(self) -> str:
        """Name of the table on this dataset at this scale: its folder's, its run's."""
        epochs = "" if self.epochs is None else f"-{self.epochs}-epochs"
        return f"{self.name}-{self.dataset.name}-{self.scale}{epochs}"

    @property
    def home(self) -> Path:
        """Folder in the workspace: the ledger of test evaluations, and what MLflow has."""
        return self.workspace.absolute() / "reproduce" / self.title

    @property
    def folder(self) -> Path:
        """Where the results are written."""
        return self.out or self.home


class Estimate(Config):
    """What is left to train, and how long that takes."""

    networks: int
    """All that the table needs, each counted once."""
    done: int
    epochs: int
    """Of those that are left."""
    cpu_hours: float
    wall_hours: float
    """With the workers of the request."""


def estimate(request: Request) -> Estimate:
    """Measure an epoch of each kind of network that is left, and add up."""
    _, _, dataset, units = request.open()
    left = units.left()
    seconds: dict[str, float] = {}
    total = 0.0
    for unit in left:
        kind = unit.config.model_dump_json(include={"backbone", "recipe"})
        if kind not in seconds:
            if isinstance(unit.config, StudentConfig):
                seconds[kind] = epoch_of_student(unit.config, dataset)
            else:
                seconds[kind] = epoch_of_teacher(unit.config, dataset)
        total += seconds[kind] * unit.config.total_epochs()
    return Estimate(
        networks=len(units.all()),
        done=len(units.all()) - len(left),
        epochs=sum(unit.config.total_epochs() for unit in left),
        cpu_hours=total / 3600.0,
        wall_hours=total / 3600.0 / max(1, min(request.workers, len(left))),
    )
