"""Checks of the storage itself, and of students and teachers against it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, computed_field
from pydantic.dataclasses import dataclass

from refkd.errors import CheckpointError
from refkd.files import sha256_file
from tune.study.events import teachers_of
from tune.study.snapshot import StudySnapshot
from tune.study.view import ENDED

if TYPE_CHECKING:
    from refkd.training.export import StudentRecord
    from tune.study.view import TrialView

COPY = "restore the study's storage from a copy, or give the study another name"


@dataclass(frozen=True)
class Finding:
    """Two places that disagree, or something half done."""

    check: str
    """The check that found it, such as `student`."""
    what: str
    """What is wrong, and where."""
    remedy: str
    """What puts it right: what `fix` does, or what the user can do."""
    fix: Callable[[], object] | None = Field(default=None, exclude=True, repr=False)
    """Puts it right; None where there is more than one right answer."""

    @classmethod
    def told(
        cls, check: str, error: object, remedy: str, fix: Callable[[], object] | None = None
    ) -> Finding:
        """Return what an error says, with the remedy that it names or else the given one."""
        what, _, named = str(error).partition("; ")
        return cls(check, what, named or remedy, fix)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fixable(self) -> bool:
        """Whether `--fix` puts it right."""
        return self.fix is not None


def running(study: StudySnapshot) -> Iterator[Finding]:
    """Trials that run, though no driver is at work."""
    numbers = [view.number for view in study.trials if view.state == "RUNNING"]
    if numbers:
        what = f"no driver works on the unfinished trials {', '.join(map(str, numbers))}"
        yield Finding("running", what, f"continue them: refkd search {study.path}")


def curves(study: StudySnapshot) -> Iterator[Finding]:
    """Curves without all their epochs; a trial that continues another may begin behind it."""
    for view in study.trials:
        inherited = int(view.attributes.get("inherited", 0))
        first = 1 if 1 in view.curve else inherited + 1
        gaps = sorted(set(range(first, view.epoch + 1)) - set(view.curve))
        if gaps:
            lacking = ", ".join(map(str, gaps))
            what = f"trial {view.number}: its curve up to epoch {view.epoch} lacks {lacking}"
            yield Finding("curve", what, COPY)


def outcomes(study: StudySnapshot) -> Iterator[Finding]:
    """Trials whose state or values differ from their stored end."""
    for view in study.ended():
        if view.refused:
            continue
        ended = view.attributes.get("ended", {})
        if ended.get("state") != view.state:
            decided = ended.get("state", "nothing")
            what = f"trial {view.number} is {view.state}, the last thing decided about it is "
            yield Finding("outcome", what + decided, COPY)
        elif view.state == "COMPLETE":
            final = ended.get("final", {})
            said = [final.get(name, math.nan) for name in study.file.objectives]
            for source, values in (("end", ended["values"]), ("final metrics", said)):
                if not same(values, view.objectives or []):
                    yield _wrong_values(view, source, values)


def students(study: StudySnapshot) -> Iterator[Finding]:
    """Complete trials whose students are missing, damaged, or not those of the study."""
    from refkd.training.export import WEIGHTS, open_student

    for view in study.ended("COMPLETE"):
        records: list[StudentRecord] = []
        for folder in study.student_folders(view.number):
            try:
                record = open_student(folder).record
            except CheckpointError as error:
                yield _bad_student(view, str(error))
                continue
            fault = weights_fault(folder / WEIGHTS, record.sha256)
            fault = fault or history_fault(folder, record)
            if fault is None and not _is_recorded(study, view, folder):
                fault = f"{folder}: is another student than the one that was trained"
            if fault is None:
                records.append(record)
            else:
                yield _bad_student(view, fault)
        if len(records) == study.file.replicates.seeds:
            yield from _scores(study, view, records)


def teachers(study: StudySnapshot) -> Iterator[Finding]:
    """Teachers that are missing, damaged, or not those that the students learned from."""
    from refkd.training.teacher import RECORD, find_teacher

    known = teachers_of(study.attributes)
    for role, folder in study.teacher_folders().items():
        remedy = f"restore {folder}, or remove it and train it again: refkd search {study.path}"
        try:
            teacher = find_teacher(folder)
        except CheckpointError as error:
            yield Finding("teacher", str(error), remedy)
            continue
        if teacher is None:
            if role not in known:
                continue  # it is not trained yet
            fault: str | None = f"{folder}: holds no finished teacher"
        elif role in known and teacher.digest != known[role].digest:
            fault = f"{folder}: is another teacher than the one the students learned from"
        elif role in known and known[role].file not in (None, teacher.file_hash):
            fault = f"{folder / RECORD}: changed since the study noted it"
        else:
            fault = weights_fault(teacher.weights, teacher.record.sha256)
        if fault is not None:
            yield Finding("teacher", f"teacher {role}: {fault}", remedy)


def _is_recorded(study: StudySnapshot, view: TrialView, folder: Path) -> bool:
    """Return whether a student's record is the one that the trial's end holds the hash of."""
    from refkd.training.export import record_hash

    recorded = view.attributes.get(ENDED, {}).get("students")
    place = study.student_folders(view.number).index(folder)
    return recorded is None or record_hash(folder) in recorded[place : place + 1]


def weights_fault(weights: Path, sha256: str | None) -> str | None:
    """Return what is wrong with a file of weights; None where it has its hash."""
    if not weights.is_file():
        return f"{weights}: is missing"
    whole = sha256_file(weights) == sha256
    return None if whole else f"{weights}: the weights changed since they were written"


def history_fault(folder: Path, record: StudentRecord) -> str | None:
    """Return what is wrong with what a student's validation kept of each pair, if anything."""
    from refkd.training.validated import VALIDATED, read_history

    try:
        if record.validation is None or read_history(folder, sha256=record.validation):
            return None
    except CheckpointError as error:
        return str(error).partition("; ")[0]
    return f"{folder / VALIDATED}: is missing"


def _scores(
    study: StudySnapshot, view: TrialView, records: list[StudentRecord]
) -> Iterator[Finding]:
    """Compare a trial's values with its students' records and with its own curve."""
    names = study.file.objectives
    if any(name not in record.metrics for record in records for name in names):
        yield _bad_student(view, "its record lacks an objective")
        return
    means = [statistics.fmean(record.metrics[name] for record in records) for name in names]
    if not same(means, view.objectives or []):
        yield _wrong_values(view, "student", means)
    if len(records) == 1:
        kept = view.curve.get(records[0].epoch, {})
        stored = [kept.get(name, math.nan) for name in names]
        if not same(stored, view.objectives or []):
            yield _wrong_values(view, f"curve at epoch {records[0].epoch}", stored)


def _wrong_values(view: TrialView, source: str, values: list[float]) -> Finding:
    what = f"trial {view.number}: the study holds {view.objectives}, its {source} {values}"
    return Finding("values", what, COPY)


def _bad_student(view: TrialView, what: str) -> Finding:
    remedy = "restore the folder from a copy; a complete trial is not trained again"
    return Finding("student", f"trial {view.number}: {what}", remedy)


def same(a: list[float], b: list[float]) -> bool:
    """Return whether values are equal up to rounding."""
    return len(a) == len(b) and all(
        math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12) for x, y in zip(a, b, strict=True)
    )


STUDY_CHECKS = (curves, outcomes, students, teachers)
"""Checks of what does not change while a driver is at work."""
