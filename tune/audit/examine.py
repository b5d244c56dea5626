"""The doctor: do study, MLflow record, files and ledger agree, and what puts them right?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field

from refkd.config import Config
from refkd.errors import RefKDError
from tune.audit.files import FILE_CHECKS
from tune.audit.findings import Finding
from tune.audit.study import STUDY_CHECKS, WHILE_STOPPED
from tune.audit.tracking import RECORD_CHECKS
from tune.study.lease import lease
from tune.study.snapshot import StudyReader, StudySnapshot

ROUNDS = 3
"""How often the study is looked at again while fixes succeed: one may uncover another."""

Check = Callable[[StudySnapshot], Iterator[Finding]]
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


def examine(where: Path | str, *, fix: bool = False) -> Diagnosis:
    """Compare everything that knows of a study; with `fix`, mend what has one right answer.

    `where` is as for `open_snapshot`. `LeaseError` names the driver where one is at work and
    `fix` is wanted.
    """
    reader = StudyReader(where)
    study = reader.read()
    if fix and study.place.path is None:
        raise RefKDError("--fix changes files; name the study file, not its folder or storage")
    if fix:
        with lease(study.place.storage, study.name, objectives=len(study.objectives)):
            return _mend(reader)
    findings = _diagnose(study, _STOPPED if study.driver is None else _AT_WORK)
    driver = None if study.driver is None else str(study.driver)
    return Diagnosis(study=study.name, driver=driver, findings=_rows(findings))


def _mend(reader: StudyReader) -> Diagnosis:
    fixed: list[Finding] = []
    study = reader.read()
    findings = _diagnose(study, _STOPPED)
    for _ in range(ROUNDS):
        fixable = [finding for finding in findings if finding.fix is not None]
        for finding in fixable:
            assert finding.fix is not None
            finding.fix()
        if not fixable:
            break
        findings = _diagnose(reader.read(), _STOPPED)
        left = {finding.what for finding in findings}
        fixed += [finding for finding in fixable if finding.what not in left]
    return Diagnosis(study=study.name, findings=_rows(findings), fixed=_rows(fixed))


def _diagnose(study: StudySnapshot, checks: tuple[Check, ...]) -> list[Finding]:
    return [finding for check in checks for finding in check(study)]


def _rows(findings: list[Finding]) -> list[Diagnosis.Row]:
    return [
        Diagnosis.Row(check=f.check, what=f.what, remedy=f.remedy, fixable=f.fix is not None)
        for f in findings
    ]
