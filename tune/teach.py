"""`refkd teach`: the teachers of a study alone, and their own hyperparameters as a study."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.teacher import find_teacher
from tune.config.settings import TeacherTuning
from tune.config.space import Value, flat, suggest
from tune.config.study_file import StudyFile
from tune.config.tuning import tuned
from tune.execution.cluster import ray_session
from tune.execution.jobs import TrainingJob, Workplace, teacher_job
from tune.execution.progress import Reporter
from tune.execution.study_jobs import study_jobs, workplace
from tune.launch import missing_teachers, open_dataset, train_missing
from tune.study.folders import teacher_folder
from tune.study.lease import lease
from tune.study.locate import place_of
from tune.study.samplers import make_sampler
from tune.study.storage import open_storage

VALUES = "values"


class Taught(Config):
    """A teacher, and where it lies."""

    role: str
    recipe: str
    """Its label, which says where a recipe is a reconstruction, changed, or leaks."""
    backbone: str
    """Its label, which says where a network is a reconstruction."""
    folder: Path
    epoch: int
    metrics: dict[str, float]


class Tuned(Config):
    """What tuning a teacher has found."""

    role: str
    study: str
    """Name of its own study, in the storage of the study file."""
    trials: int
    failed: int
    best: Taught
    recipe: dict[str, Any]
    """Its recipe, as a study file takes it: the preset, and what differs from it."""
    values: dict[str, Value]
    """Settings of the best, by dotted key below `teachers.ROLE`."""
    scores: list[float]
    """The objective of every complete trial, in order."""


def train_teachers(
    file: StudyFile, *, address: str | None, reporter: Reporter
) -> dict[str, Taught]:
    """Train both teachers of a study unless they exist; a search finds them trained then."""
    dataset = open_dataset(file, reporter)
    jobs = study_jobs(file, dataset).teachers
    missing = missing_teachers(jobs.values())
    with ray_session(file.resources, address=address) if missing else nullcontext():
        train_missing(jobs.values(), _place(file, dataset), reporter)
    return {role: _taught(role, job.folder) for role, job in jobs.items()}


def tune_teacher(file: StudyFile, role: str, *, address: str | None, reporter: Reporter) -> Tuned:
    """Search the space of `teachers.ROLE.tune` for the best score on the teacher's own role.

    The trials stand in an Optuna study of their own, NAME-teacher-ROLE, in the study's storage.
    Run it again after any interruption: what was trained is kept, what was begun goes on from its
    checkpoint. Raises `RefKDError` where the file names no space, or no trial could be trained.
    """
    spec = getattr(file.teachers, role)
    if spec.tune is None:
        raise RefKDError(f"teachers.{role}.tune is missing; give it a space, such as in --help")
    name, url = f"{file.name}-teacher-{role}", place_of(file).storage
    dataset = open_dataset(file, reporter)
    with lease(url, name, objectives=1), ray_session(file.resources, address=address):
        study = optuna.load_study(
            study_name=name,
            storage=open_storage(url),
            sampler=make_sampler(file.sampler, seed=file.seed),
        )
        _Tuning(file, role, spec.tune, study, dataset, reporter).run()
        return _best(file, role, study, dataset)


class _Tuning:
    """One call of `tune_teacher`: trials in rounds of as many as there are workers."""

    def __init__(
        self,
        file: StudyFile,
        role: str,
        tuning: TeacherTuning,
        study: optuna.Study,
        dataset: Dataset,
        reporter: Reporter,
    ) -> None:
        self._file, self._role, self._tuning = file, role, tuning
        self._study, self._dataset, self._reporter = study, dataset, reporter
        base = file.teacher_config(role).model_dump(mode="json")
        self._fixed = {k: v for k, v in flat(base).items() if k not in tuning.space}
        self._bind()

    def run(self) -> None:
        """Train until the budget is used up; what an earlier call began comes first."""
        open_ = [t for t in self._study.get_trials() if t.state == TrialState.RUNNING]
        while True:
            left = self._tuning.trials - len(self._study.get_trials(deepcopy=False))
            asked = {t.number: t.user_attrs.get(VALUES) for t in open_}
            for number in [n for n, values in asked.items() if values is None]:
                self._study.tell(number, state=TrialState.FAIL)  # killed before it had values
                del asked[number]
            while len(asked) < self._file.workers and left > 0:
                number, values = self._ask()
                asked[number], left = values, left - 1
            if not asked:
                return
            self._round(asked)
            open_ = []

    def _ask(self) -> tuple[int, dict[str, Value]]:
        trial = self._study.ask()
        values = suggest(self._tuning.space, trial, self._fixed)
        trial.set_user_attr(VALUES, values)
        return trial.number, values

    def _round(self, asked: Mapping[int, Any]) -> None:
        """Train some teachers side by side and tell what came of them."""
        jobs = {number: self._job(number, values) for number, values in asked.items()}
        place = _place(self._file, self._dataset)
        failures = train_missing(jobs.values(), place, self._reporter, tolerate=True)
        for number, job in jobs.items():
            if job.key in failures:
                self._reporter.stage(f"trial {number} failed: {failures[job.key]}")
                self._study.tell(number, state=TrialState.FAIL)
                continue
            score = _taught(self._role, job.folder).metrics[f"val_{self._role}/miou"]
            self._study.tell(number, score)
            self._reporter.stage(f"trial {number}: val_{self._role}/miou {score:.2f}")

    def _job(self, number: int, values: Mapping[str, Value]) -> TrainingJob:
        config = tuned(self._file.teacher_config(self._role), values)
        return teacher_job(str(number), config, self._dataset, self._file.workspace)

    def _bind(self) -> None:
        """Hold the study to its dataset."""
        held = self._study.user_attrs.get("dataset")
        if held not in (None, self._dataset.fingerprint):
            raise RefKDError(
                f"study {self._study.study_name!r} was begun on another dataset "
                f"({str(held)[:12]}…); give the study file another name"
            )
        if held is None:
            self._study.set_user_attr("dataset", self._dataset.fingerprint)


def _best(file: StudyFile, role: str, study: optuna.Study, dataset: Dataset) -> Tuned:
    trials = study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    if not complete:
        raise RefKDError(f"none of {len(trials)} teachers could be trained; see the reasons above")
    values = study.best_trial.user_attrs[VALUES]
    config = tuned(file.teacher_config(role), values)
    return Tuned(
        role=role,
        study=study.study_name,
        trials=len(trials),
        failed=len(trials) - len(complete),
        best=_taught(role, teacher_folder(file.workspace, config, dataset)),
        recipe={"preset": config.recipe.preset, **config.recipe.changes()},
        values=values,
        scores=[float(t.value) for t in complete if t.value is not None],
    )


def _place(file: StudyFile, dataset: Dataset) -> Workplace:
    # Of its own: a search of the same study may run beside, and removes its folder at its end.
    return replace(workplace(file, dataset), scratch=file.folder / "ray-teachers")


def _taught(role: str, folder: Path) -> Taught:
    teacher = find_teacher(folder)
    if teacher is None:
        raise RefKDError(f"{folder}: the teacher is gone; run the same command again")
    record = teacher.record
    return Taught(
        role=role,
        recipe=record.recipe.label,
        backbone=record.backbone.label,
        folder=folder,
        epoch=record.epoch,
        metrics=record.metrics,
    )
