"""Train a recorded trial again and compare its metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.student import student_trainer
from refkd.training.teacher import find_teacher
from refkd.training.threads import threads
from refkd.training.trainer import Trainer
from tune.audit.difference import Difference
from tune.execution.jobs import mean
from tune.study.retries import newest
from tune.study.snapshot import StudySnapshot, open_snapshot
from tune.study.view import ASKED, CONTINUES, TrialView


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrained:
    """How the metrics of training again differ from those stored."""

    trial: int
    epochs: int
    differences: list[Difference]


def retrain(where: Path | str, number: int) -> Retrained:
    """Train a trial again, writing nothing, and compare every metric but its cost bit for bit."""
    study = open_snapshot(where)
    file, trial = study.file, _find(study, number)
    asked = next(x for x in study.launches if x.number == trial.stamps[ASKED].launch)
    then = asked.study_file()  # a study that has grown trains otherwise now
    dataset = Dataset.open(file.dataset)
    workspace = file.workspace.absolute()
    teachers = {role: find_teacher(folder) for role, folder in study.teacher_folders().items()}
    with threads(file.resources.cpu):
        trainers = [
            student_trainer(
                then.student_config(trial.values, seed=seed),
                dataset,
                teachers,
                workspace / "knowledge",
                device=file.resources.device,
            )
            for seed in then.seeds(trial.repeats)[: then.replicates.race]
        ]
        return _compare(trial, trainers)


def _find(study: StudySnapshot, number: int) -> TrialView:
    path = study.path
    number = newest(study.trials, number)
    trial = next((t for t in study.trials if t.number == number), None)
    if trial is None or not trial.curve:
        raise RefKDError(
            f"{path}: trial {number} has no epochs; `refkd status {path}` lists those that have"
        )
    source = trial.attributes.get(CONTINUES)
    if source is not None:
        raise RefKDError(
            f"{path}: trial {number} goes on from trial {source}; train that one again"
        )
    return trial


def _compare(trial: TrialView, trainers: list[Trainer]) -> Retrained:
    differences = []
    runs = [trainer.epochs() for trainer in trainers]
    for epoch, stored in trial.curve.items():
        made = mean([next(run).metrics for run in runs])
        for name, value in stored.items():
            if not name.startswith("cost/") and made.get(name) != value:
                what = f"{name} of epoch {epoch}"
                differences.append(Difference(trial.number, what, value, made.get(name)))
    return Retrained(trial=trial.number, epochs=trial.epoch, differences=differences)
