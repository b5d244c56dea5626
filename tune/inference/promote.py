"""Giving an alias to a trial by hand, with a reason that everyone can read later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refkd.config import Config
from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.evaluation.comparison import Row
from refkd.training.export import FrozenStudent, open_student
from tune import compat
from tune.config.study_file import StudyFile
from tune.config.urls import resolve
from tune.results.choice import ALIASES, BALANCED, best_seed
from tune.results.comparison import compare
from tune.results.finalist_champions import system_name
from tune.results.search_champions import keep_retriever
from tune.study.environment import Environment
from tune.study.events import AliasMoved, finalists_code
from tune.study.folders import finalist_folder, trial_folder
from tune.study.launches import made_with
from tune.study.lease import LeaseError, lease
from tune.study.snapshot import StudySnapshot, open_snapshot
from tune.study.stored_study import StoredStudy, append_unordered, identity_of
from tune.tracking.alias import check_alias
from tune.tracking.operations import finalist_key, trial_key
from tune.tracking.target import tracking_uri

LONGEST_REASON = 500


class Promotion(Config):
    """What became of an alias."""

    model: str
    alias: str
    version: str
    trial: int
    run: str
    """Key of the run that made the student."""
    reason: str
    before: str | None
    """The version that had the alias before; it has ALIAS-before now."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """The student that a trial stands for, and all of its seeds."""

    student: FrozenStudent
    run: str
    seeds: Sequence[FrozenStudent]
    code: Environment | None
    """With which it was trained."""
    identity: str
    """The study's own."""


def promote(study: Path, *, alias: str, trial: int, reason: str) -> Promotion:
    """Register a complete trial's student and move an alias of the study's model to it.

    Of a finalist, the student of its best fresh seed is registered, with the scores of the mean
    over all of them. The move is stored in the study, nothing else of it changes. Raises
    `RefKDError` where the trial is not complete, MLflow does not take the alias's name, or the
    tracking server does not take the model.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    from tune.inference.model import unanswered
    from tune.tracking.registry import Registrar
    from tune.tracking.target import client_settings

    reason = _checked(alias, reason)
    opened = open_snapshot(study)
    file = opened.file
    uri = tracking_uri(file)
    if uri is None:
        raise RefKDError(f"{study}: tracking is off, so there is no registry; enable it first")
    chosen, dataset = _open(opened, trial, alias)
    folder = file.folder / "promoted" / alias
    keep_retriever(file, chosen.student, dataset, folder)
    scores = _scores(file, dataset, trial, chosen.seeds)
    try:
        with client_settings(), compat.tracking_at(resolve(uri)):
            registrar = Registrar(resolve(uri), file, dataset, chosen.identity)
            (move,) = registrar.register(
                alias, trial, folder, scores, run=chosen.run, reason=reason, code=chosen.code
            )
    except (MlflowException, RequestException) as error:
        raise unanswered(uri, error) from None
    _store(opened, move)
    return Promotion(
        model=move.model,
        alias=alias,
        version=move.version,
        trial=trial,
        run=chosen.run,
        reason=reason,
        before=move.before,
    )


def _store(study: StudySnapshot, move: AliasMoved) -> None:
    """Store the move in the study.

    Its place in the order is given by whoever holds the lease: while a driver is at work, it is
    stored without one.
    """
    url = study.place.storage
    try:
        with lease(url, study.name, objectives=len(study.objectives)):
            StoredStudy(study.file, url).note_aliases([move])
    except LeaseError:
        append_unordered(study.optuna, move)


def _checked(alias: str, reason: str) -> str:
    check_alias(alias)
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON:
        raise RefKDError(
            f"the reason has {len(reason)} characters; say in 1 to {LONGEST_REASON} why this "
            f"trial is to be {alias}"
        )
    return reason


def _open(study: StudySnapshot, trial: int, alias: str) -> tuple[_Candidate, Dataset]:
    _check_trial(study, trial)
    dataset = Dataset.open(study.file.dataset)
    expected = study.attributes.get("dataset")
    if expected not in (None, dataset.fingerprint):
        raise RefKDError(
            f"{study.file.dataset}: is not the dataset that study {study.name!r} was searched on "
            f"({dataset.fingerprint[:12]}, not {str(expected)[:12]}); restore that one"
        )
    return _candidate(study, trial, alias), dataset


def _check_trial(study: StudySnapshot, trial: int) -> None:
    complete = [view.number for view in study.ended("COMPLETE")]
    if trial not in complete:
        states = {view.number: view.state for view in study.trials}
        shown = ", ".join(map(str, complete[:20])) or "none yet"
        raise RefKDError(
            f"trial {trial} of study {study.name!r} is {states.get(trial, 'absent')}; complete "
            f"trials: {shown}"
        )


def _candidate(study: StudySnapshot, trial: int, alias: str) -> _Candidate:
    known = identity_of(study.attributes)
    identity = known or StoredStudy(study.file, study.place.storage).identity()
    found = study.finalists
    rows = [row for row in found.finalists if row.trial == trial] if found else []
    if rows and not rows[0].failures:
        best = best_seed(rows[0].runs, ALIASES.get(alias, BALANCED))
        folders = [finalist_folder(study.folder, trial, k) for k in range(len(rows[0].runs))]
        seeds = [open_student(folder) for folder in folders]
        code = finalists_code(study.attributes)
        return _Candidate(
            student=seeds[best],
            run=finalist_key(trial, best),
            seeds=seeds,
            code=code,
            identity=identity,
        )
    student = open_student(trial_folder(study.folder, trial))
    code = made_with(study.trials[trial], study.launches)
    return _Candidate(
        student=student, run=trial_key(trial), seeds=[student], code=code, identity=identity
    )


def _scores(
    file: StudyFile, dataset: Dataset, trial: int, seeds: Sequence[FrozenStudent]
) -> dict[str, Row]:
    roles = (dataset.role("val_id"), dataset.role("val_ood"))
    name = system_name(trial)
    made = compare({name: seeds}, {}, dataset, roles, seed=file.seed)
    return {role: systems[name] for role, systems in made.scores.items()}
