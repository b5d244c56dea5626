"""Checks of what a study has found against its events: looks at the test roles, final results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from refkd.files import write_json
from tune.audit.study import Finding
from tune.study.event_base import study_events
from tune.study.events import LookDone
from tune.study.ledger import LEDGER, is_copy, looks_of, write_looks
from tune.study.outcomes import FinalReport, final_path
from tune.study.snapshot import StudySnapshot


def ledger(study: StudySnapshot) -> Iterator[Finding]:
    """A ledger that does not say of the looks what the study does, or a look that was cut off."""
    path = study.folder / LEDGER
    if study.ledger_fault is not None:
        what, _, remedy = study.ledger_fault.partition("; ")
        yield Finding("ledger", what, remedy or "make it readable, then ask the doctor again")
        return
    looks = looks_of(study.folder, study.attributes)
    if not is_copy(study.folder, looks):
        what = f"{path}: does not hold the looks at the test roles that the study does"
        remedy = f"write it again with the {len(looks)} looks of the study"
        yield Finding("ledger", what, remedy, partial(write_looks, study.folder, looks))
    if (begun := study.look_begun) is not None and study.driver is None:
        what = f"look {begun.look} was cut off before anything of it was shown"
        yield Finding("ledger", what, f"take it again: refkd evaluate --final {study.path}")


def final_results(study: StudySnapshot) -> Iterator[Finding]:
    """Results of looks that are not, or no longer, what the study holds."""
    looks = [] if study.ledger_fault is not None else study.looks
    held = {one.look: one.results for one in study_events(study.attributes, LookDone)}
    for look in looks:
        path = final_path(study.folder, look.look)
        if look.look not in held:
            continue  # of an earlier refkd: nothing says what its file held
        report = FinalReport.model_validate({**held[look.look], "looks": looks[: look.look]})
        truth = report.model_dump(mode="json")
        try:
            same = path.is_file() and json.loads(path.read_bytes()) == truth
        except (OSError, ValueError):
            same = False
        if not same:
            state = "does not hold the results that the study does" if path.exists() else "is gone"
            remedy = f"write it again with the results of look {look.look} that the study holds"
            yield Finding("final", f"{path}: {state}", remedy, partial(write_json, path, truth))
    known = {final_path(study.folder, look.look) for look in looks}
    for path in sorted(study.folder.glob("final-*.json")):
        if study.ledger_fault is None and path not in known:
            what = f"{path}: is of no look that the study knows of"
            yield Finding("final", what, "remove it, or restore the study's storage from a copy")


RESULT_CHECKS = (ledger, final_results)
"""Checks of what the report shows as results; they may be made while a driver is at work."""
