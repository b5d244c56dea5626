"""`refkd teach`: the teachers of a study alone, and their own hyperparameters as a study."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.imported.published import published_answers
from refkd.training.imported.teacher import ImportedRecord, examine_answers
from refkd.training.teacher import find_teacher
from tune.config.space import Value, flat, suggest
from tune.config.study_file import StudyFile
from tune.config.teachers import TeacherTuning
from tune.config.tuning import tuned
from tune.ending.exits import NoneCompleteError
from tune.execution.cluster import ray_session
from tune.execution.imports import import_missing
from tune.execution.jobs import Workplace, teacher_job
from tune.execution.progress import Reporter
from tune.execution.study_jobs import StudyJobs, workplace
from tune.launch import missing_teachers, open_dataset, train_missing
from tune.study.folders import teacher_folder
from tune.study.lease import lease
from tune.study.locate import place_of
from tune.study.samplers import make_sampler
from tune.study.storage import open_storage, to_be_continued
from tune.tracking.reach import check_apart

VALUES = "values"


class Taught(Config):
    """A teacher, and where it lies."""

    role: str
    recipe: str
    """Its label, which says where a recipe is a reconstruction, changed, or leaks; of a teacher
    that is imported where it comes from."""
    backbone: str
    """Its label, which says where a network is a reconstruction."""
    folder: Path
    epoch: int
    metrics: dict[str, float]


class Checked(Config):
    """A file of answers that can be a teacher of a study."""

    file: Path
    sha256: str
    kind: str
    pairs: dict[str, int]
    """By role."""
    metrics: dict[str, float]
    """Scores of the answers on the validation roles."""


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
    file: StudyFile, *, address: str | None, reporter: Reporter, verify: bool = True
) -> dict[str, Taught]:
    """Make both teachers of a study unless they exist; a search finds them there then."""
    dataset = open_dataset(file, reporter, verify=verify)
    jobs = StudyJobs(file, dataset)
    import_missing(jobs.imports, dataset, jobs.place.knowledge, reporter)
    trained = jobs.teachers.values()
    missing = missing_teachers(trained)
    with ray_session(file.resources, address=address) if missing else nullcontext():
        train_missing(trained, _place(file, dataset), reporter)
    return {role: _taught(role, folder) for role, folder in jobs.teacher_folders.items()}


def check_answers(
    file: StudyFile, answers: Path, *, reporter: Reporter, verify: bool = True
) -> Checked:
    """Read a file of answers as a teacher of a study, and write nothing.

    Raises `DataError` with the first three pairs that are wrong.
    """
    dataset = open_dataset(file, reporter, verify=verify)
    found = examine_answers(answers, dataset)
    return Checked(
        file=answers,
        sha256=found.origin.sha256,
        kind=found.origin.kind,
        pairs={role: len(held) for role, held in found.logits.items()},
        metrics=found.metrics,
    )


def ask_checkpoint(
    file: StudyFile,
    published: tuple[str, Path],
    given: Mapping[str, Path | None],
    out: Path,
    *,
    reporter: Reporter,
    verify: bool = True,
) -> Checked:
    """Write the answers of a published checkpoint to the pairs of a study's dataset.

    `published` is the network and the checkpoint's file, `given` its other files by their option.
    Raises `CheckpointError` where the checkpoint or one of them does not fit.
    """
    model, checkpoint = published
    dataset = open_dataset(file, reporter, verify=verify)
    reporter.stage(f"asking {checkpoint} about every pair")
    published_answers(model, checkpoint, given, dataset, out, device=file.resources.device)
    return check_answers(file, out, reporter=reporter, verify=False)


def tune_teacher(
    file: StudyFile, role: str, *, address: str | None, reporter: Reporter, verify: bool = True
) -> Tuned:
    """Search the space of `teachers.ROLE.tune` for the best score on the teacher's own role.

    The trials stand in an Optuna study of their own, NAME-teacher-ROLE, in the study's storage;
    another call continues it. Raises `RefKDError` where the file names no space,
    `NoneCompleteError` where no trial could be trained.
    """
    file.teacher_config(role)  # says so where it is imported
    tuning: TeacherTuning | None = getattr(file.teachers, role).tune
    if tuning is None:
        raise RefKDError(f"teachers.{role}.tune is missing; give it a space, such as in --help")
    name, url, sampler = f"{file.name}-teacher-{role}", place_of(file).storage, file.sampler
    if sampler.name == "curves":  # a teacher in tuning tells its end alone
        sampler = sampler.model_copy(update={"name": "tpe"})
    dataset = open_dataset(file, reporter, verify=verify)
    if file.tracking.enabled:
        check_apart(url, place_of(file).tracking)
    with (
        lease(url, name, signs=[1.0]),
        to_be_continued(),
        ray_session(file.resources, address=address),
    ):
        study = optuna.load_study(
            study_name=name,
            storage=open_storage(url),
            sampler=make_sampler(sampler, seed=file.seed),
        )
        held = study.user_attrs.get("dataset")
        if held not in (None, dataset.fingerprint):
            raise RefKDError(
                f"study {name!r} was begun on another dataset ({str(held)[:12]}…); give the study "
                "file another name"
            )
        study.set_user_attr("dataset", dataset.fingerprint)
        run = _Tuning(file, role, study, dataset, reporter)
        run.train(tuning)
        return run.best()


@dataclass(frozen=True)
class _Tuning:
    """One call of `tune_teacher`: trials in rounds of as many as there are workers."""

    file: StudyFile
    role: str
    study: optuna.Study
    dataset: Dataset
    reporter: Reporter

    def train(self, tuning: TeacherTuning) -> None:
        """Train until the budget is used up; what an earlier call began comes first."""
        base = flat(self.file.teacher_config(self.role).model_dump(mode="json"))
        fixed = {key: value for key, value in base.items() if key not in tuning.space}
        asked: dict[int, dict[str, Value]] = {}
        for begun in self.study.get_trials(states=[TrialState.RUNNING]):
            if VALUES in begun.user_attrs:
                asked[begun.number] = begun.user_attrs[VALUES]
            else:  # killed before it had values
                self.study.tell(begun.number, state=TrialState.FAIL)
        while True:
            left = tuning.trials - len(self.study.get_trials(deepcopy=False))
            for _ in range(min(left, self.file.workers - len(asked))):
                trial = self.study.ask()
                asked[trial.number] = suggest(tuning.space, trial, fixed)
                trial.set_user_attr(VALUES, asked[trial.number])
            if not asked:
                return
            self._round(asked)
            asked = {}

    def best(self) -> Tuned:
        """Return the best teacher of all trials; `NoneCompleteError` where none was trained."""
        trials = self.study.get_trials(deepcopy=False)
        complete = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if not complete:
            raise NoneCompleteError(
                f"none of {len(trials)} teachers could be trained; see the reasons above"
            )
        values = self.study.best_trial.user_attrs[VALUES]
        config = tuned(self.file.teacher_config(self.role), values)
        folder = teacher_folder(self.file.workspace, config, self.dataset)
        return Tuned(
            role=self.role,
            study=self.study.study_name,
            trials=len(trials),
            failed=len(trials) - len(complete),
            best=_taught(self.role, folder),
            recipe={"preset": config.recipe.preset, **config.recipe.changes()},
            values=values,
            scores=[float(t.value) for t in complete if t.value is not None],
        )

    def _round(self, asked: Mapping[int, dict[str, Value]]) -> None:
        """Train some teachers side by side and store what came of them."""
        base, metric = self.file.teacher_config(self.role), f"val_{self.role}/miou"
        jobs = {
            n: teacher_job(str(n), tuned(base, values), self.dataset, self.file.workspace)
            for n, values in asked.items()
        }
        place = _place(self.file, self.dataset)
        failures = train_missing(jobs.values(), place, self.reporter, tolerate=True)
        for number, job in jobs.items():
            if job.key in failures:
                self.reporter.stage(f"trial {number} failed: {failures[job.key]}")
                self.study.tell(number, state=TrialState.FAIL)
                continue
            score = _taught(self.role, job.folder).metrics[metric]
            self.study.tell(number, score)
            self.reporter.stage(f"trial {number}: {metric} {score:.2f}")


def _place(file: StudyFile, dataset: Dataset) -> Workplace:
    # Of its own: a search of the same study may run beside, and removes its folder at its end.
    return replace(workplace(file, dataset), scratch=file.folder / "ray-teachers")


def _taught(role: str, folder: Path) -> Taught:
    teacher = find_teacher(folder)
    if teacher is None:
        raise RefKDError(f"{folder}: the teacher is gone; run the same command again")
    record = teacher.record
    if isinstance(record, ImportedRecord):
        recipe, backbone = str(record.imported), "no network"
    else:
        recipe, backbone = record.recipe.label, record.backbone.label
    return Taught(
        role=role,
        recipe=recipe,
        backbone=backbone,
        folder=folder,
        epoch=record.epoch,
        metrics=record.metrics,
    )
