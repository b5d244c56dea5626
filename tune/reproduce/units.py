"""The networks that a table needs, each trained once and found again by its content address."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.files import canonical_json
from refkd.recipes import RecipeConfig
from refkd.seeds import derive_seed
from refkd.training.export import FrozenStudent, open_student, student_is_frozen
from refkd.training.student import StudentConfig
from refkd.training.teacher import RECORD, Teacher, TeacherConfig, find_teacher
from tune.execution.jobs import TrainingJob
from tune.reproduce.experiments import TEACHERS, Experiment, System
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
    def epochs(self) -> int:
        """Epochs it is trained for."""
        return self.config.total_epochs()

    @property
    def marks(self) -> list[str]:
        """Labels that say why the names of its parts are not to be taken at their word."""
        labels = [self.config.backbone.label]
        if isinstance(self.config, TeacherConfig):
            labels.append(self.config.recipe.label)
        for teacher in self.teachers.values():
            labels += teacher.marks
        return sorted({label for label in labels if "(" in label})

    def job(self) -> TrainingJob:
        """Return what a worker is told of it."""
        return TrainingJob(
            key=self.key,
            folder=self.folder,
            networks=[self.config],
            teachers={role: teacher.folder for role, teacher in self.teachers.items()},
            shared=True,
        )

    def frozen(self) -> Teacher | FrozenStudent:
        """Return the trained network; `CheckpointError` where there is none."""
        if isinstance(self.config, StudentConfig):
            return open_student(self.folder)
        teacher = find_teacher(self.folder)
        if teacher is None:
            raise CheckpointError(f"{self.folder}: holds no teacher; run the same command again")
        return teacher

    @property
    def is_done(self) -> bool:
        """Whether its training has ended."""
        if isinstance(self.config, StudentConfig):
            return student_is_frozen(self.folder)
        return (self.folder / RECORD).is_file()


@dataclass(frozen=True, kw_only=True)
class Units:
    """All that an experiment needs."""

    rows: dict[str, list[Unit]]
    """By the label of a system, a unit a seed."""

    def all(self) -> list[Unit]:
        """Return every network once, teachers before students."""
        rows = [unit for units in self.rows.values() for unit in units]
        needed = [teacher for unit in rows for teacher in unit.teachers.values()]
        by_folder: dict[Path, Unit] = {}
        for unit in [*rows, *needed]:
            by_folder.setdefault(unit.folder, unit)
        return sorted(by_folder.values(), key=lambda unit: bool(unit.teachers))

    def left(self) -> list[Unit]:
        """Return those that are not trained yet."""
        return [unit for unit in self.all() if not unit.is_done]


def units_of(experiment: Experiment, scale: Scale, dataset: Dataset, workspace: Path) -> Units:
    """Return the networks of an experiment."""
    make = _Maker(scale, dataset, workspace.absolute())
    return Units(
        rows={
            system.label: [make.unit(system, k) for k in range(scale.seeds)]
            for system in experiment.systems
        }
    )


class _Maker:
    def __init__(self, scale: Scale, dataset: Dataset, workspace: Path) -> None:
        self._scale, self._dataset, self._workspace = scale, dataset, workspace

    def unit(self, system: System, replicate: int) -> Unit:
        return (self._student if system.is_student else self._teacher)(system, replicate)

    def _teacher(self, system: System, replicate: int) -> Unit:
        assert system.recipe is not None
        config = TeacherConfig.model_validate(
            {
                "backbone": {**self._scale.network(system.backbone), **system.network},
                "recipe": RecipeConfig.named(system.recipe),
                "training": self._scale.training_config(
                    system.backbone, select="best", select_by=f"val_{system.selects}/miou"
                ),
                "seed": _seed(replicate, system.recipe),
            }
        )
        folder = teacher_folder(self._workspace, config, self._dataset)
        return Unit(row=system.label, replicate=replicate, config=config, folder=folder)

    def _student(self, system: System, replicate: int) -> Unit:
        teachers = {
            role: self._teacher(
                System(
                    label=f"{system.backbone} {role.upper()} teacher",
                    backbone=system.backbone,
                    recipe=recipe,
                    selects=role,  # type: ignore[arg-type]
                ),
                replicate,
            )
            for role, recipe in TEACHERS.items()
        }
        config = StudentConfig.model_validate(
            {
                "backbone": self._scale.network(system.backbone),
                "distill": self._scale.distill_config(system.distill, system.warmup_epochs),
                # The last epoch: the best one could be of the warm-up, which all variants share.
                "training": self._scale.training_config(system.backbone, select="last"),
                # The same for all variants, so that they differ by the method alone.
                "seed": _seed(replicate, "student"),
            }
        )
        address = _address(
            self._dataset.fingerprint,
            config.model_dump(mode="json"),
            {role: teacher.folder.name for role, teacher in teachers.items()},
        )
        return Unit(
            row=system.label,
            replicate=replicate,
            config=config,
            folder=self._workspace / "students" / address,
            teachers=teachers,
        )


def epochs_of(units: Iterable[Unit]) -> int:
    """Return the epochs that some units take together."""
    return sum(unit.epochs for unit in units)


def _seed(replicate: int, what: str) -> int:
    return derive_seed(replicate, "reproduce", what) % (1 << 31)


def _address(*parts: object) -> str:
    return hashlib.sha256(canonical_json(parts)).hexdigest()[:24]
