"""A study file: everything that decides a search, read, checked and explained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from refkd.data.local_copy import folder_or_address
from refkd.data.simulate import SimulationConfig
from refkd.distill.config import DistillConfig
from refkd.errors import RefKDError
from refkd.models import BackboneConfig, VSLNetConfig
from refkd.seeds import derive_seed
from refkd.training.config import TrainingConfig
from refkd.training.student import StudentConfig
from refkd.training.teacher import TeacherConfig
from refkd.urls import Url
from tune.config.faults import at, faults_of, keys_of, wanted
from tune.config.keys import MisplacedError, check_keys, nearest, put
from tune.config.metrics import COSTS, Objective
from tune.config.search_spec import SearchSettings, SearchSpec
from tune.config.sense import senseless
from tune.config.settings import Tracking, WarmStart
from tune.config.space import Value, Values, flat, lowest, misfit
from tune.config.teachers import TEACHER_ROLES, ImportedTeacherSpec, Teachers, TeacherSpec
from tune.config.tuning import check_tuning, first_message
from tune.config.yaml_file import read_yaml

SECTIONS = ("backbone", "distill", "training")
CAVEATS = {
    "leakage": "it is trained on val_ood, so that every score of it, and of each student it "
    "teaches, is a diagnostic and no result",
    "reconstruction": "rebuilt from a text that leaves much open; its scores say nothing of the "
    "published system",
    "imported": "it has no network, so that no probe and no test score of it is made; what it "
    "learnt of is not known here, the validation pairs perhaps among it",
}


def _place(value: Any) -> Any:
    try:
        return folder_or_address(value) if isinstance(value, str | Path | Url) else value
    except RefKDError as error:
        raise ValueError(str(error)) from None


Place = Annotated[Path | Url, BeforeValidator(_place)]
"""Folder or address of a dataset."""


class StudyFileError(RefKDError):
    """A study file with a wrong key, type or range; every line of the message is one."""


class StudyFile(SearchSettings):
    """One study, as written in YAML; paths are relative to where the command is run.

    >>> study = StudyFile(
    ...     name="quick", dataset="datasets/quick", budget={"trials": 4},
    ...     space={"distill.lambda_id": {"float": [0.01, 1.0], "log": True}},
    ... )
    >>> study.workspace.as_posix(), study.training.epochs
    ('runs', 100)
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    dataset: Place
    """A prepared dataset: the folder that `refkd data prepare` or `simulate` wrote, or its address
    such as `s3://bucket/charades`, of which each machine makes one copy."""
    simulate: SimulationConfig | None = None
    """Where given, an absent dataset is simulated with these settings first."""
    workspace: Path = Path("runs")
    """Folder of studies, teachers, knowledge and the MLflow store."""
    backbone: BackboneConfig = VSLNetConfig()
    """The network of teachers and students."""
    teachers: Teachers = Teachers()
    """How both teachers are made."""
    training: TrainingConfig = TrainingConfig()
    """Fixed training settings; keys in the space win over them."""
    distill: DistillConfig = DistillConfig()
    """Fixed settings of the method; keys in the space win over them."""
    warm_start: WarmStart = WarmStart()
    """Points taken from other studies or from the paper, tried after those of `start_from`."""
    objectives: list[Objective] = Field(
        default_factory=lambda: ["val_id/miou", "val_ood/miou"], min_length=1
    )
    """Validation metrics to maximise, and `model/parameters` or costs to minimise; test metrics
    are refused."""
    minimize: list[str] = Field(default_factory=list)
    """The objectives of which less is better, beside costs and `model/parameters`, which always
    are among them."""
    retries: int = Field(default=1, ge=0)
    """How often a trial whose process died is taken up again within one launch."""
    storage: Url | None = None
    """Optuna storage: an SQLAlchemy URL, or journal:PATH; null for SQLite in the workspace.
    `${NAME}` in it stands for a variable of the environment."""
    tracking: Tracking = Tracking()
    """The record in MLflow."""

    @model_validator(mode="after")
    def _costs_are_minimised(self) -> StudyFile:
        less = [name for name in self.objectives if name in COSTS and name not in self.minimize]
        if less:
            self.__dict__["minimize"] = [*self.minimize, *less]
        return self

    @model_validator(mode="after")
    def _consistent(self) -> StudyFile:
        if self.simulate is not None and isinstance(self.dataset, Url):
            raise MisplacedError(
                ("dataset",),
                f"dataset: {self.dataset} is an address, and `simulate` makes a folder; give a "
                f"path, or remove `simulate`",
            )
        known = flat({s: getattr(self, s).model_dump(mode="json") for s in SECTIONS})
        check_keys("space", self.space, known, "this study")
        for name, dimension in self.space.items():
            for value in dimension.examples():
                _check_point(self, ("space", name), {**dimension.conditions(), name: value})
        _check_points(self)
        for role in self.trained_roles:
            _check_teacher(self, role)
        return self

    @property
    def folder(self) -> Path:
        """The study's own folder in the workspace."""
        return self.workspace.absolute() / "studies" / self.name

    def search_spec(self) -> SearchSpec:
        """Return what the search needs to know of it."""
        return SearchSpec.of(self, epochs=self.training.epochs, fixed=self.fixed())

    def fixed(self) -> Values:
        """Return the settings that are not searched, with dotted keys."""
        values = flat({s: getattr(self, s).model_dump(mode="json") for s in SECTIONS})
        return {key: value for key, value in values.items() if key not in self.space}

    def student_config(self, values: Mapping[str, Value], *, seed: int) -> StudentConfig:
        """Return the student that a trial's values stand for."""
        settings: dict[str, Any] = {s: getattr(self, s).model_dump(mode="json") for s in SECTIONS}
        for path, value in values.items():
            put(settings, path, value)
        return StudentConfig.model_validate({**settings, "seed": seed})

    def seeds(self, repeats: int = 0) -> list[int]:
        """Return the seeds of a trial's students, the same for all (common random numbers).

        A trial that `repeats` so many trials of its point has the seeds that come after theirs.
        """
        first, count = repeats * self.replicates.seeds, self.replicates.seeds
        return [
            derive_seed(self.seed, "students", replicate) % (1 << 31)
            for replicate in range(first, first + count)
        ]

    @property
    def imported(self) -> dict[str, Path]:
        """The files of the teachers that are imported, by role."""
        specs = {role: getattr(self.teachers, role) for role in TEACHER_ROLES}
        return {r: s.file for r, s in specs.items() if isinstance(s, ImportedTeacherSpec)}

    @property
    def trained_roles(self) -> list[str]:
        """The roles of the teachers that are trained here."""
        return [role for role in TEACHER_ROLES if role not in self.imported]

    def teacher_config(self, role: str, *, epochs: int | None = None) -> TeacherConfig:
        """Return the teacher `id` or `ood`, trained for `epochs` where they are given.

        Raises `RefKDError` for one that is imported.
        """
        spec = getattr(self.teachers, role)
        if not isinstance(spec, TeacherSpec):
            raise RefKDError(
                f"teachers.{role} is imported from {spec.file}, nothing is trained; give a recipe "
                "in the place of `from`"
            )
        training = self.training.model_dump(mode="json")
        training |= {"select": "best", "select_by": f"val_{role}/miou"}
        training |= {} if epochs is None else {"epochs": epochs}
        return TeacherConfig(
            backbone=spec.backbone or self.backbone,
            recipe=spec.recipe,
            training=TrainingConfig.model_validate({**training, **spec.training}),
            seed=self.seed if spec.seed is None else spec.seed,
        )

    def caveats(self) -> list[str]:
        """Return a sentence for each teacher or network that leaks, is rebuilt or imported."""
        found = [
            f"{role.upper()} teacher imported from {file.name}: {CAVEATS['imported']}"
            for role, file in self.imported.items()
        ]
        for role in self.trained_roles:
            config = self.teacher_config(role)
            title = f"{role.upper()} teacher"
            found += [f"{title} {config.recipe.preset}: {CAVEATS[m]}" for m in config.recipe.marks]
            if config.backbone != self.backbone:
                found += _network_caveats(title, config.backbone.label)
        return [*found, *_network_caveats("backbone", self.backbone.label)]


def _network_caveats(title: str, label: str) -> list[str]:
    name, _, mark = label.removesuffix(")").partition(" (")
    return [f"{title} {name}: {CAVEATS[mark]}"] if mark in CAVEATS else []


def load_study_file(path: Path | str) -> StudyFile:
    """Read and check a study file; `StudyFileError` lists every fault with its line."""
    file = read_yaml(Path(path))
    try:
        study = StudyFile.model_validate(file.content)
    except ValidationError as error:
        raise StudyFileError("\n".join(faults_of(file, error, StudyFile.model_fields))) from None
    faults = [at(file, keys, message) for keys, message in senseless(study)]
    if faults:
        raise StudyFileError("\n".join(faults))
    return study


def _check_teacher(study: StudyFile, role: str) -> None:
    """Build the teacher, and those that `teach --tune` may train."""
    try:
        config = study.teacher_config(role)
    except ValidationError as error:
        location, message = error.errors()[0]["loc"], first_message(error)
        keys = ("teachers", role, *(("training", *location) if location else ()))
        if message.startswith("Extra inputs"):
            message = "no such key" + nearest(str(location[-1]), TrainingConfig.model_fields)
        raise MisplacedError(keys, f"teachers.{role}: {message}") from None
    tuning = getattr(study.teachers, role).tune
    if tuning is not None:
        check_tuning(f"teachers.{role}.tune.space", config, tuning.space)


def _check_points(study: StudyFile) -> None:
    for position, point in enumerate(study.start_from):
        wrong = misfit(study.space, point)
        if wrong is not None:
            raise MisplacedError(("start_from", position), wrong)
        _check_point(study, ("start_from", position), point)


def _check_point(study: StudyFile, at: tuple[str | int, ...], values: Mapping[str, Value]) -> None:
    """Build the student of some values, with the lowest of each other active range."""
    point = lowest(study.space, values, study.fixed())
    try:
        config = study.student_config(point, seed=0)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in keys_of(first["loc"]))
        if where in study.space and at[0] == "space":  # whatever was tried beside it
            at, values = ("space", where), {where: point.get(where)}
        message = wanted(first["msg"].removeprefix("Value error, "), first["input"])
        raise MisplacedError(at, f"{dict(values)} is not valid: {where}: {message}") from None
    if config.distill.warmup_epochs > config.training.epochs:
        key = "distill.warmup_epochs"
        raise MisplacedError(
            ("space", key) if key in study.space else ("distill", "warmup_epochs"),
            f"distill.warmup_epochs can be {config.distill.warmup_epochs}, more than "
            f"training.epochs={config.training.epochs}: no epoch would be left after the warm-up",
        )
