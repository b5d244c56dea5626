"""Giving an alias to a trial by hand, with a reason that everyone can read later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.exported import RECORD, WEIGHTS
from refkd.files import scratch, sha256_file
from refkd.training.export import FrozenStudent, open_student
from tune.config.metrics import BALANCED
from tune.results.champions import ALIASES, best_seed, keep_retriever
from tune.results.comparison import compare, open_students, system_name
from tune.results.kept import file_hashes
from tune.study.event_base import study_events
from tune.study.events import AliasMoved, imported_teachers
from tune.study.finalist_events import FinalistTrained, finalists_code
from tune.study.folders import finalist_folder
from tune.study.home import check_own
from tune.study.launch import made_with
from tune.study.lease import LeaseError, lease
from tune.study.retries import newest
from tune.study.snapshot import StudySnapshot, open_snapshot
from tune.study.storage import to_be_continued
from tune.study.stored_study import StoredStudy, append_unordered, identity_of
from tune.tracking.aliases import check_alias, checked_reason
from tune.tracking.card import Registration
from tune.tracking.operations import finalist_key, trial_key
from tune.tracking.reach import asked, check
from tune.tracking.target import Target, target_of


def promote(study: Path, *, alias: str, trial: int, reason: str) -> AliasMoved:
    """Register a complete trial's student, a finalist's best one, and move an alias to it."""
    from tune.tracking.registry import register

    check_alias(alias)
    reason = checked_reason(alias, reason)
    opened = open_snapshot(study)
    file = opened.file
    if not file.tracking.enabled:
        raise RefKDError(f"{study}: tracking is off, so there is no registry; enable it first")
    check_own(file, opened.attributes)
    trial = newest(opened.trials, trial)
    _check_trial(opened, trial)
    dataset = _open_dataset(opened)
    best = _best_fresh_seed(opened, trial, alias)
    run = trial_key(trial) if best is None else finalist_key(trial, best)
    folder = file.folder / "promoted" / alias
    target = _target(opened)
    with asked(target.uri):
        check(target.uri, write=True)
    seeds = _students(opened, trial, run)
    with scratch(folder.with_name(f".{alias}.new")) as fresh, asked(target.uri):
        keep_retriever(file, seeds[best or 0], dataset, fresh)
        student = _registration(opened, dataset, seeds, alias, trial, run, reason, fresh)
        (move,) = register(target, file, dataset, [student])
        if folder.exists():  # until now what the alias had
            shutil.rmtree(folder)
        fresh.rename(folder)
    move = replace(move, files=file_hashes(file.folder, folder / RECORD))
    _store(opened, move)
    return move


def kept_folder(study: StudySnapshot, move: AliasMoved) -> Path | None:
    """Return the folder of the weights that an alias was moved to; None where none has them."""
    places = ("promoted", "finalists/champions", "champions")
    for folder in (study.folder / place / move.alias for place in places):
        weights = folder / WEIGHTS
        if weights.is_file() and sha256_file(weights) == move.sha256:
            return folder
    return None


def register_again(study: StudySnapshot, moves: Sequence[AliasMoved]) -> None:
    """Register what some aliases were moved to once more, from the weights that were kept.

    What they pointed at before comes first, as far as it was kept. For who has the lease. Raises
    what MLflow's client raises.
    """
    from tune.tracking.registry import register

    dataset, target = _open_dataset(study), _target(study)
    aliases = {move.alias for move in moves}
    told = [m for m in study_events(study.attributes, AliasMoved) if m.alias in aliases]
    once = {(m.alias, m.sha256): m for m in sorted(told, key=lambda m: m.moved)}
    old, students = list[AliasMoved](), list[Registration]()
    for move in sorted(once.values(), key=lambda m: m.moved):
        folder = kept_folder(study, move)
        if folder is not None:
            seeds = _students(study, move.trial, move.run)
            asked_for = (move.alias, move.trial, move.run, move.reason)
            students.append(_registration(study, dataset, seeds, *asked_for, folder))
            old.append(move)
    with asked(target.uri):
        made = register(target, study.file, dataset, students)
    again = [replace(new, files=was.files) for new, was in zip(made, old, strict=True)]
    StoredStudy(study.file.search_spec(), study.place.storage).note_aliases(again)


def _registration(
    study: StudySnapshot,
    dataset: Dataset,
    seeds: Sequence[FrozenStudent],
    alias: str,
    trial: int,
    run: str,
    reason: str,
    folder: Path,
) -> Registration:
    """Return what is registered of a student; its scores are means over the seeds."""
    roles, name = (dataset.role("val_id"), dataset.role("val_ood")), system_name(trial)
    made = compare({name: seeds}, {}, dataset, roles, seed=study.file.seed)
    (view,) = (view for view in study.trials if view.number == trial)
    fresh = run != trial_key(trial)
    return Registration(
        alias=alias,
        trial=trial,
        run=run,
        folder=folder,
        scores={role: systems[name] for role, systems in made.scores.items()},
        reason=reason,
        code=finalists_code(study.attributes) if fresh else made_with(view, study.launches),
        imported=imported_teachers(study.attributes),
    )


def _target(study: StudySnapshot) -> Target:
    known = identity_of(study.attributes)
    identity = known or StoredStudy(study.file.search_spec(), study.place.storage).identity()
    target = target_of(study.file, identity)
    assert target is not None, "tracking is on"
    return target


def _check_trial(study: StudySnapshot, trial: int) -> None:
    complete = [view.number for view in study.ended("COMPLETE")]
    if trial not in complete:
        states = {view.number: view.state for view in study.trials}
        shown = ", ".join(map(str, complete[:20])) or "none yet"
        raise RefKDError(
            f"trial {trial} of study {study.name!r} is {states.get(trial, 'absent')}; complete "
            f"trials: {shown}"
        )


def _open_dataset(study: StudySnapshot) -> Dataset:
    dataset = Dataset.open(study.file.dataset)
    expected = study.attributes.get("dataset")
    if expected not in (None, dataset.fingerprint):
        raise RefKDError(
            f"{study.file.dataset}: is not the dataset that study {study.name!r} was searched on "
            f"({dataset.fingerprint[:12]}, not {str(expected)[:12]}); restore that one"
        )
    return dataset


def _best_fresh_seed(study: StudySnapshot, trial: int, alias: str) -> int | None:
    """Return which of a finalist's students on fresh seeds is the best; None for other trials."""
    finalists = [] if study.finalists is None else study.finalists.finalists
    for row in finalists:
        if row.trial == trial and not row.failures:
            return best_seed(row.runs, ALIASES.get(alias, BALANCED))
    return None


def _students(study: StudySnapshot, trial: int, run: str) -> list[FrozenStudent]:
    """Return the students of a trial by seed: the search's, or those of a finalist."""
    if run == trial_key(trial):
        (view,) = (view for view in study.trials if view.number == trial)
        return open_students(study.folder, [trial], view.seeds, finalist=False)
    trained = study_events(study.attributes, FinalistTrained)
    fresh = sorted(t.replicate for t in trained if t.trial == trial and not t.failed)
    return [open_student(finalist_folder(study.folder, trial, one)) for one in fresh]


def _store(study: StudySnapshot, move: AliasMoved) -> None:
    """Store the move; without a place in the order of events while a driver is at work."""
    url = study.place.storage
    try:
        with to_be_continued(), lease(url, study.name, signs=study.signs):
            StoredStudy(study.file.search_spec(), url).note_aliases([move])
    except LeaseError:
        append_unordered(study.optuna, move)
