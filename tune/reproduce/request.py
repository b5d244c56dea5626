"""What is asked of a reproduction, checked before anything runs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.config.limits import Resources
from tune.reproduce.experiments import Experiment, experiment, names
from tune.reproduce.scales import SCALES, Scale
from tune.reproduce.units import Units, units_of


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for."""

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
    tracking: str | None = None
    """MLflow's URI; None for the workspace's own store."""
    final: bool = False
    """Score the sealed test roles instead of validation."""
    again: bool = False
    reason: str | None = None

    def open(self) -> tuple[Experiment, Scale, Dataset, Units]:
        """Return what it means; `RefKDError` where a name is not known."""
        if self.name not in names():
            raise RefKDError(f"{self.name!r} is none of {', '.join(names())}")
        if self.scale not in SCALES:
            raise RefKDError(f"scale {self.scale!r} is none of {', '.join(SCALES)}")
        if self.again and not self.final:
            raise RefKDError("--again is about the test roles: it goes with --final")
        scale = SCALES[self.scale]
        if self.seeds is not None:
            scale = scale.with_seeds(self.seeds)
        if self.epochs is not None:
            scale = scale.with_epochs(self.epochs)
        dataset = Dataset.open(self.dataset)
        asked = experiment(self.name, sweep=scale.sweep)
        return asked, scale, dataset, units_of(asked, scale, dataset, self.workspace)

    @property
    def command(self) -> str:
        """What to type for the same table, on a dataset folder of the same name."""
        asked = {"seeds": self.seeds, "epochs": self.epochs, "reason": self.reason}
        options = [f"--{name} {shlex.quote(str(v))}" for name, v in asked.items() if v is not None]
        looks = [f"--{name}" for name in ("final", "again") if getattr(self, name)]
        start = f"refkd reproduce {self.name} --dataset {shlex.quote(self.dataset.name)}"
        return " ".join([start, f"--scale {self.scale}", *options, *looks])

    @property
    def title(self) -> str:
        """Name of the table on this dataset at this scale: its folder's, its run's."""
        epochs = "" if self.epochs is None else f"-{self.epochs}-epochs"
        return f"{self.name}-{self.dataset.name}-{self.scale}{epochs}"

    @property
    def home(self) -> Path:
        """What the workspace keeps of it: the ledger of looks, and events for MLflow."""
        return self.workspace.absolute() / "reproduce" / self.title

    @property
    def folder(self) -> Path:
        """Where the results are written."""
        return self.out or self.home
