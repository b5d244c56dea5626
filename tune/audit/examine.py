"""The doctor: do study, MLflow record, files and ledger agree, and what puts them right?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field

from refkd.config import Config
from refkd.errors import RefKDError
from refkd.masking import masked
from tune.audit.files import FILE_CHECKS
from tune.audit.results import RESULT_CHECKS, cut_off
from tune.audit.study import COPY, STUDY_CHECKS, Finding, running
from tune.audit.tampering import TAMPERING_CHECKS
from tune.audit.tracking import record
from tune.study.lease import lease
from tune.study.locate import NoStudyError
from tune.study.snapshot import StudyReader, StudySnapshot
from tune.study.storage import StorageError, file_of

ROUNDS = 3
"""How often the study is examined again while fixes succeed: one may uncover another."""

Check = Callable[[StudySnapshot], Iterator[Finding]]
_ALWAYS: tuple[Check, ...] = (*STUDY_CHECKS, *TAMPERING_CHECKS, *RESULT_CHECKS)
_STOPPED: tuple[Check, ...] = (*_ALWAYS, running, cut_off, *FILE_CHECKS, record)


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
    """Compare all that is stored of a study; `fix`, under the lease, mends what it can.

    Without `fix` nothing is written: databases are read from copies. Whatever is damaged is a
    finding. Raises `NoStudyError` where there is no study, `StorageError` for a storage that
    cannot be used, `RefKDError` for a study file that cannot be read.
    """
    with TemporaryDirectory(prefix="refkd-doctor-") as scratch:
        looking = StudyReader(where, scratch=Path(scratch))
        try:
            study = looking.read()
        except StorageError as error:
            path = file_of(looking.place.storage)
            told = str(error) if path is None else str(error).replace(scratch, str(path.parent))
            raise StorageError(told) from None
        except Exception as error:
            if not _is_begun(looking, error):
                raise
            what = f"{looking.place.storage}: {_first_line(error)}"
            finding = Finding("storage", what, COPY)
            return Diagnosis(study=looking.place.name, findings=[finding])
        file = study.file  # what is wrong with it is said at once
        if not fix:
            findings = _diagnose(study, _STOPPED if study.driver is None else _ALWAYS)
            driver = None if study.driver is None else str(study.driver)
            return Diagnosis(study=study.name, driver=driver, findings=findings)
    if study.place.path is None:
        raise RefKDError("--fix changes files; name the study file, not its folder or storage")
    reader = StudyReader(where)
    with lease(reader.place.storage, file.name, signs=study.signs):
        findings, fixed = _mend(reader)
    return Diagnosis(study=study.name, findings=findings, fixed=fixed)


def verify_results(study: StudySnapshot) -> None:
    """Raise `RefKDError` where what a study shows as its results is not what it has found."""
    findings = _diagnose(study, (*TAMPERING_CHECKS, *RESULT_CHECKS))
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise RefKDError(
            f"the results of study {study.name!r} do not verify: {findings[0].what}{more}; run "
            f"`refkd doctor {study.path}`, which says what puts it right"
        )


def _is_begun(reader: StudyReader, error: Exception) -> bool:
    """Return whether something is there that the study has left, which cannot be read."""
    file = file_of(reader.place.storage)
    unreadable = file is not None and file.exists() and not isinstance(error, NoStudyError)
    return unreadable or (reader.place.folder / "trials").exists()


def _mend(reader: StudyReader) -> tuple[list[Finding], list[Finding]]:
    """Return what is left wrong, and what was put right; a fix that fails stops no other."""
    fixed: list[Finding] = []
    failed: dict[str, str] = {}
    findings = _diagnose(reader.read(), _STOPPED)
    for _ in range(ROUNDS):
        fixes = [(f, f.fix) for f in findings if f.fix is not None and f.what not in failed]
        if not fixes:
            break
        for finding, mend in fixes:
            try:
                mend()
            except (RefKDError, OSError) as error:
                failed[finding.what] = _first_line(error)
        findings = _diagnose(reader.read(), _STOPPED)
        left = {finding.what for finding in findings}
        fixed += [finding for finding, _mended in fixes if finding.what not in left]
    why = {what: f"; --fix failed: {said}" for what, said in failed.items()}
    return [replace(f, remedy=f"{f.remedy}{why.get(f.what, '')}") for f in findings], fixed


def _diagnose(study: StudySnapshot, checks: tuple[Check, ...]) -> list[Finding]:
    return [finding for check in checks for finding in _made(check, study)]


def _made(check: Check, study: StudySnapshot) -> Iterator[Finding]:
    """Yield what a check finds, and what it fails at: something damaged in a way of its own."""
    try:
        for one in check(study):
            yield replace(one, what=" ".join(one.what.split()))
    except Exception as error:
        what = f"{check.__name__.replace('_', ' ')} cannot be examined: {_first_line(error)}"
        yield Finding("unreadable", what, "restore what is named there, then ask the doctor again")


def _first_line(error: Exception) -> str:
    """Return what an error says, on one line and without a password."""
    said = " ".join(masked(str(error)).split()) or "no reason given"
    expected = isinstance(error, RefKDError | OSError)
    return (said if expected else f"{type(error).__name__}: {said}")[:500]
