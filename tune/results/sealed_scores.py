"""The final evaluation of a study: its champions and teachers on the test roles, once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from refkd.data.pairs import Pairs
from refkd.errors import RefKDError
from refkd.evaluation.predictions import Frozen
from refkd.files import write_json
from refkd.training.export import FrozenStudent, open_student
from tune.config.marks import study_marks
from tune.config.study_file import StudyFile
from tune.results.choice import read_results
from tune.results.comparison import compare
from tune.results.finalist_champions import system_name
from tune.results.look import SealedPlace, check_sealed, take_look
from tune.results.outcome import Outcome, outcome_of
from tune.study.events import LookTaken, looks_of
from tune.study.folders import finalist_folder, student_folders
from tune.study.ledger import Evaluated, Look, check_look, read_looks
from tune.study.outcomes import (
    Comparison,
    Finalists,
    FinalReport,
    final_path,
    read_finalists,
)

Champions = dict[int, list[FrozenStudent]]


def evaluate_final(
    study: StudyFile | Path | str, *, again: bool = False, reason: str | None = None
) -> FinalReport:
    """Score the champions of an ended study and both teachers on the sealed test roles, once.

    The champions are the finalists' where there are any, else the search's. A row is in the ledger
    before a sealed file is opened; everything that can be checked without opening one is checked
    before that. A further look needs `again` and a `reason`, which stays in the ledger. The
    result is written beside it as `final-N.json`. Raises as `outcome_of`, `LedgerError` for a look
    that is not allowed, `RefKDError` where finalists are begun and not ended, `DataError` where
    sealed files are missing. Source: evaluation protocol, "One sealed evaluation".
    """
    with (
        outcome_of(study) as outcome,
        TemporaryDirectory(prefix="refkd-sealed-") as scratch,
    ):
        looks = read_looks(outcome.file.folder)
        noted = looks_of(outcome.study.optuna.user_attrs)
        check_look(looks, study=outcome.file.name, again=again, reason=reason, noted=noted)
        found = _finalists(outcome)
        aliases = found.champions if found else outcome.summary().champions
        champions = _students(outcome, aliases, found)
        _check(outcome, champions)
        look, roles = take_look(
            outcome.file.folder,
            outcome.dataset,
            SealedPlace(at=outcome.file.dataset, scratch=Path(scratch)),
            number=len(looks) + 1,
            study=outcome.file.name,
            champions=_evaluated(outcome, aliases, champions),
            teachers={role: teacher.digest for role, teacher in outcome.teachers.items()},
            reason=reason,
            written=lambda taken: outcome.study.append(_event(taken)),
        )
        report = FinalReport(
            looks=[*looks, look],
            from_finalists=found is not None,
            seeds={alias: len(champions[number]) for alias, number in aliases.items()},
            features=outcome.dataset.manifest.features.extractor or "extractor not stated",
            comparison=_score(outcome, champions, roles),
            marks=study_marks(outcome.file),
        )
        path = final_path(outcome.file.folder, look.look)
        write_json(path, report.model_dump(mode="json"))
        return report


def _event(look: Look) -> LookTaken:
    """Return what the study holds of a look, beside the ledger."""
    return LookTaken(
        look=look.look,
        champions=look.trials,
        user=look.user,
        host=look.host,
        reason=look.reason,
    )


def _finalists(outcome: Outcome) -> Finalists | None:
    """Return the finalists of the study as it stands; None where none were ever begun."""
    attributes = outcome.study.optuna.user_attrs
    found = read_finalists(attributes)
    begun = bool(read_results(attributes))
    if begun and found is None:
        raise RefKDError(
            f"study {outcome.file.name!r} has finalists that are not trained to their end; run "
            "`refkd finalists` again, then evaluate"
        )
    summary = outcome.summary()
    if found is not None and summary.outgrown:
        raise RefKDError(
            f"study {outcome.file.name!r} had {found.trials} trials when its finalists were "
            f"chosen, now {summary.ended}; run `refkd finalists` again, then evaluate"
        )
    return found


def _students(outcome: Outcome, aliases: dict[str, int], found: Finalists | None) -> Champions:
    """Return each champion's students, one a seed, by trial."""
    folder, champions = outcome.file.folder, {}
    for number in sorted(set(aliases.values())):
        if found is not None:
            homes = [finalist_folder(folder, number, k) for k in range(len(found.seeds))]
        else:
            homes = student_folders(folder, number, outcome.file.replicates.seeds)
        champions[number] = [open_student(home) for home in homes]
    if found is not None:
        _check_unchanged(champions, found)
    return champions


def _check_unchanged(champions: Champions, found: Finalists) -> None:
    rows = {row.trial: row for row in found.finalists}
    for number, students in champions.items():
        for student, result in zip(students, rows[number].runs, strict=True):
            if student.record.sha256 != result.sha256:
                raise RefKDError(
                    f"{student.folder}: is another student than the finalist of trial {number} "
                    "that was scored; restore the folder from a copy"
                )


def _check(outcome: Outcome, champions: Champions) -> None:
    """Try all that can fail without a look: weights load, and sealed files are there."""
    dataset = outcome.dataset
    systems: list[Frozen] = [*outcome.teachers.values(), *chain(*champions.values())]
    for frozen in systems:
        frozen.backbone(dataset)
    check_sealed(dataset, outcome.file.dataset)


def _evaluated(
    outcome: Outcome, aliases: dict[str, int], champions: Champions
) -> dict[str, Evaluated]:
    folder = outcome.file.folder
    return {
        alias: Evaluated(
            trial=trial,
            students={
                str(s.folder.relative_to(folder)): s.record.sha256 for s in champions[trial]
            },
        )
        for alias, trial in aliases.items()
    }


def _score(outcome: Outcome, champions: Champions, roles: tuple[Pairs, Pairs]) -> Comparison:
    students: dict[str, Sequence[Frozen]] = {system_name(n): s for n, s in champions.items()}
    return compare(students, outcome.teachers, outcome.dataset, roles, seed=outcome.file.seed)
