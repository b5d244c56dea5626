"""Giving an alias to a trial by hand, with a reason that everyone can read later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.exported import RECORD
from refkd.files import scratch
from refkd.training.export import FrozenStudent, open_student
from tune.config.metrics import BALANCED
from tune.results.champions import ALIASES, best_seed, keep_retriever
from tune.results.comparison import compare, open_students, system_name
from tune.results.kept import file_hashes
from tune.study.events import AliasMoved, imported_teachers
from tune.study.finalist_events import finalists_code
from tune.study.folders import trial_folder
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
from tune.tracking.target import target_of


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
    known = identity_of(opened.attributes)
    identity = known or StoredStudy(file.search_spec(), opened.place.storage).identity()
    target = target_of(file, identity)
    assert target is not None, "tracking is on"
    seeds, best = _students(opened, trial, alias)
    (view,) = (view for view in opened.trials if view.number == trial)
    code = made_with(view, opened.launches)
    folder = file.folder / "promoted" / alias
    with asked(target.uri):
        check(target.uri, write=True)
    roles, name = (dataset.role("val_id"), dataset.role("val_ood")), system_name(trial)
    made = compare({name: seeds}, {}, dataset, roles, seed=file.seed)
    with scratch(folder.with_name(f".{alias}.new")) as fresh, asked(target.uri):
        keep_retriever(file, seeds[best or 0], dataset, fresh)
        student = Registration(
            alias=alias,
            trial=trial,
            run=trial_key(trial) if best is None else finalist_key(trial, best),
            folder=fresh,
            scores={role: systems[name] for role, systems in made.scores.items()},
            reason=reason,
            code=code if best is None else finalists_code(opened.attributes),
            imported=imported_teachers(opened.attributes),
        )
        (move,) = register(target, file, dataset, [student])
        if folder.exists():  # until now what the alias had
            shutil.rmtree(folder)
        fresh.rename(folder)
    move = replace(move, files=file_hashes(file.folder, folder / RECORD))
    _store(opened, move)
    return move


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


def _students(
    study: StudySnapshot, trial: int, alias: str
) -> tuple[Sequence[FrozenStudent], int | None]:
    """Return a finalist's students on fresh seeds and which is the best; else the trial's own."""
    finalists = [] if study.finalists is None else study.finalists.finalists
    for row in finalists:
        if row.trial == trial and not row.failures:
            best = best_seed(row.runs, ALIASES.get(alias, BALANCED))
            return open_students(study.folder, [trial], len(row.runs), finalist=True), best
    return [open_student(trial_folder(study.folder, trial))], None


def _store(study: StudySnapshot, move: AliasMoved) -> None:
    """Store the move; without a place in the order of events while a driver is at work."""
    url = study.place.storage
    try:
        with to_be_continued(), lease(url, study.name, signs=study.signs):
            StoredStudy(study.file.search_spec(), url).note_aliases([move])
    except LeaseError:
        append_unordered(study.optuna, move)
