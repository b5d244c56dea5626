"""The doctor: do study, MLflow record, files and ledger agree, and what puts them right?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field

from refkd.config import Config
from refkd.errors import RefKDError
from tune.audit.files import FILE_CHECKS
from tune.audit.results import RESULT_CHECKS
from tune.audit.study import STUDY_CHECKS, Finding, running
from tune.audit.tampering import TAMPERING_CHECKS
from tune.audit.tracking import record
from tune.study.lease import lease
from tune.study.snapshot import StudyReader, StudySnapshot

ROUNDS = 3
"""How often the study is examined again while fixes succeed: one may uncover another."""

Check = Callable[[StudySnapshot], Iterator[Finding]]
_ALWAYS: tuple[Check, ...] = (*STUDY_CHECKS, *TAMPERING_CHECKS, *RESULT_CHECKS)
_STOPPED: tuple[Check, ...] = (*_ALWAYS, running, *FILE_CHECKS, record)


class Diagnosis(Config):
    """What the doctor says of a study."""

    study: str
    driver: str | None = None
    """The driver that is at work; then only what does not change meanwhile was checked."""
    findings: list[Finding] = Field(default_factory=list)
    """What is wrong now."""
    fixed: list[Finding] = Field(default_factory=list)
    """What was wrong and is put right."""


def examine(where: Path | str, *, fix: bool = False) -> Diagnosis:
    """Compare all that is stored of a study; `fix`, under the lease, mends what it can."""
    reader = StudyReader(where)
    study = reader.read()
    if not fix:
        findings = _diagnose(study, _STOPPED if study.driver is None else _ALWAYS)
        driver = None if study.driver is None else str(study.driver)
        return Diagnosis(study=study.name, driver=driver, findings=findings)
    if study.place.path is None:
        raise RefKDError("--fix changes files; name the study file, not its folder or storage")
    with lease(study.place.storage, study.name, objectives=len(study.objectives)):
        findings, fixed = _mend(reader)
    return Diagnosis(study=study.name, findings=findings, fixed=fixed)


def _mend(reader: StudyReader) -> tuple[list[Finding], list[Finding]]:
    """Return what is left wrong, and what was put right."""
    fixed: list[Finding] = []
    findings = _diagnose(reader.read(), _STOPPED)
    for _ in range(ROUNDS):
        fixes = [(finding, finding.fix) for finding in findings if finding.fix is not None]
        if not fixes:
            break
        for _finding, mend in fixes:
            mend()
        findings = _diagnose(reader.read(), _STOPPED)
        left = {finding.what for finding in findings}
        fixed += [finding for finding, _mended in fixes if finding.what not in left]
    return findings, fixed


def _diagnose(study: StudySnapshot, checks: tuple[Check, ...]) -> list[Finding]:
    return [finding for check in checks for finding in check(study)]
