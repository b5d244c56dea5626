"""The doctor: do study, MLflow record, files and ledger agree, and what puts them right?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field

from refkd.config import Config
from tune.doctor.files import FILE_CHECKS
from tune.doctor.findings import Case, Finding
from tune.doctor.record import RECORD_CHECKS
from tune.doctor.study import STUDY_CHECKS, WHILE_STOPPED
from tune.spec.study_file import StudyFile, load_study_file
from tune.study.lease import driver_of, lease
from tune.study.locate import StudyPlace, open_study, place_of
from tune.study.view import view

ROUNDS = 3
"""How often the study is looked at again while fixes succeed: one may uncover another."""

Check = Callable[[Case], Iterator[Finding]]
_AT_WORK: tuple[Check, ...] = STUDY_CHECKS
_STOPPED: tuple[Check, ...] = (*STUDY_CHECKS, *WHILE_STOPPED, *FILE_CHECKS, *RECORD_CHECKS)


class Diagnosis(Config):
    """What the doctor says of a study."""

    class Row(Config):
        """One finding."""

        check: str
        what: str
        remedy: str
        fixable: bool
        """Whether `--fix` puts it right."""

    study: str
    driver: str | None = None
    """Who is searching at this moment; then only what holds still was looked at."""
    findings: list[Row] = Field(default_factory=list)
    """What is wrong now."""
    fixed: list[Row] = Field(default_factory=list)
    """What was wrong and is put right."""


def examine(path: Path | str, *, fix: bool = False) -> Diagnosis:
    """Compare everything that knows of a study; with `fix`, mend what has one right answer.

    `LeaseError` names the driver where one is at work and `fix` is wanted.
    """
    path = Path(path)
    file = load_study_file(path)
    place = place_of(file)
    case = _look(file, path, place)
    if fix:
        with lease(place.storage, file.name, objectives=len(file.objectives)):
            return _mend(file, path, place)
    driver = driver_of(case.attributes)
    at_work = driver is not None and driver.lives()
    findings = _diagnose(case, _AT_WORK if at_work else _STOPPED)
    return Diagnosis(
        study=file.name, driver=str(driver) if at_work else None, findings=_rows(findings)
    )


def _mend(file: StudyFile, path: Path, place: StudyPlace) -> Diagnosis:
    fixed: list[Finding] = []
    findings = _diagnose(_look(file, path, place), _STOPPED)
    for _ in range(ROUNDS):
        fixable = [finding for finding in findings if finding.fix is not None]
        for finding in fixable:
            assert finding.fix is not None
            finding.fix()
        if not fixable:
            break
        findings = _diagnose(_look(file, path, place), _STOPPED)
        left = {finding.what for finding in findings}
        fixed += [finding for finding in fixable if finding.what not in left]
    return Diagnosis(study=file.name, findings=_rows(findings), fixed=_rows(fixed))


def _look(file: StudyFile, path: Path, place: StudyPlace) -> Case:
    """Read the whole study; `NoStudyError` where it was not begun."""
    study = open_study(place)
    trials = study.get_trials(deepcopy=False)
    attributes = dict(study.user_attrs)
    return Case(
        file=file,
        path=path,
        trials=trials,
        views=[view(trial) for trial in trials],
        attributes=attributes,
    )


def _diagnose(case: Case, checks: tuple[Check, ...]) -> list[Finding]:
    return [finding for check in checks for finding in check(case)]


def _rows(findings: list[Finding]) -> list[Diagnosis.Row]:
    return [
        Diagnosis.Row(check=f.check, what=f.what, remedy=f.remedy, fixable=f.fix is not None)
        for f in findings
    ]
