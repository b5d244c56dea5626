"""The networks that a table needs, each trained once and found again by its content address."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.files import canonical_json
from refkd.recipes import RecipeConfig
from refkd.seeds import derive_seed
from refkd.training.config import recorded
from refkd.training.export import FrozenStudent
from refkd.training.student import StudentConfig
from refkd.training.teacher import AnyTeacher, TeacherConfig
from tune.execution.jobs import TrainingJob, trained_network
from tune.reproduce.experiments import Experiment, System, teacher_systems
from tune.reproduce.scales import Scale
from tune.study.folders import teacher_folder


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One network to train: a row's, from one seed."""

    row: str
    replicate: int
    """Which of the row's seeds, counted from 0."""
    config: TeacherConfig | StudentConfig
    folder: Path
    """Where it is trained and kept; equal networks of all tables share it."""
    teachers: dict[str, Unit] = field(default_factory=dict)
    """Of a student, by `id` and `ood`."""

    @property
    def key(self) -> str:
        """Its name in logs and in MLflow."""
        return f"{self.row}, seed {self.replicate}"

    @property
    def caveats(self) -> list[str]:
        """Labels of its parts that are reconstructions, or that leak."""
        labels = [self.config.backbone.label]
        if isinstance(self.config, TeacherConfig):
            labels.append(self.config.recipe.label)
        for teacher in self.teachers.values():
            labels += teacher.caveats
        return sorted({label for label in labels if "(" in label})

    def job(self) -> TrainingJob:
        """Return the job that trains it."""
        return TrainingJob(
            key=self.key,
            folder=self.folder,
            networks=[self.config],
            teachers={role: teacher.folder for role, teacher in self.teachers.items()},
            shared=True,
        )

    def frozen(self) -> AnyTeacher | FrozenStudent:
        """Return the trained network; `CheckpointError` where there is none."""
        found = trained_network(self.folder)
        if found is None:
            raise CheckpointError(f"{self.folder}: holds no network; run the same command again")
        return found


@dataclass(frozen=True, kw_only=True)
class Units:
    """All networks that an experiment needs."""

    rows: dict[str, list[Unit]]
    """By the label of a system, a unit a seed."""

    def all(self) -> list[Unit]:
        """Return every network once, teachers first."""
        rows = [unit for row in self.rows.values() for unit in row]
        teachers = [teacher for unit in rows for teacher in unit.teachers.values()]
        by_folder: dict[Path, Unit] = {}
        for unit in [*rows, *teachers]:
            by_folder.setdefault(unit.folder, unit)
        return sorted(by_folder.values(), key=lambda unit: bool(unit.teachers))

    def left(self) -> list[Unit]:
        """Return those that are not trained yet."""
        return [unit for unit in self.all() if trained_network(unit.folder) is None]


def units_of(experiment: Experiment, scale: Scale, dataset: Dataset, workspace: Path) -> Units:
    """Return the networks of an experiment."""

    def unit(system: System, k: int) -> Unit:
        if system.recipe is not None:
            kept = {"select": "best", "select_by": f"val_{system.selects}/miou"}
            config = TeacherConfig.model_validate(
                {
                    "backbone": {**scale.network(system.backbone), **system.network},
                    "recipe": RecipeConfig.named(system.recipe),
                    "training": {**scale.training_settings(system.backbone), **kept},
                    "seed": _seed(k, system.recipe),
                }
            )
            folder = teacher_folder(workspace, config, dataset)
            return Unit(row=system.label, replicate=k, config=config, folder=folder)
        pair = teacher_systems(f"{system.backbone} ", system.backbone)
        teachers = {role: unit(teacher, k) for role, teacher in pair.items()}
        student = StudentConfig.model_validate(
            {
                "backbone": scale.network(system.backbone),
                "distill": {"warmup_epochs": scale.warmup_epochs, **system.distill},
                # The last epoch: the best one could be of the warm-up, which all variants share.
                "training": {**scale.training_settings(system.backbone), "select": "last"},
                # The same for all variants, so that they differ by the method alone.
                "seed": _seed(k, "student"),
            }
        )
        names = {role: teacher.folder.name for role, teacher in teachers.items()}
        parts = [dataset.fingerprint, recorded(student), names]
        address = hashlib.sha256(canonical_json(parts)).hexdigest()[:24]
        home = workspace.absolute() / "students" / address
        return Unit(row=system.label, replicate=k, config=student, folder=home, teachers=teachers)

    rows = {one.label: [unit(one, k) for k in range(scale.seeds)] for one in experiment.systems}
    return Units(rows=rows)


def _seed(replicate: int, what: str) -> int:
    return derive_seed(replicate, "reproduce", what) % (1 << 31)
