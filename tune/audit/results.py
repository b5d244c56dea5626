"""Checks of what a study has found: champions, finalists, looks at the test roles, results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import get_args

from refkd.errors import CheckpointError
from refkd.files import write_json
from tune.audit.study import Finding, history_fault, weights_fault
from tune.results.kept import unlike
from tune.study.event_base import study_events
from tune.study.events import AliasMoved, Chooser, LookDone, aliases_of, champions_of
from tune.study.finalist_events import FinalistTrained
from tune.study.folders import finalist_folder
from tune.study.ledger import LEDGER, is_copy, looks_of, write_looks
from tune.study.outcomes import FinalReport, final_path
from tune.study.snapshot import StudySnapshot


def ledger(study: StudySnapshot) -> Iterator[Finding]:
    """A ledger that does not say of the looks what the study does."""
    path = study.folder / LEDGER
    if study.ledger_fault is not None:
        remedy = "make it readable, then ask the doctor again"
        yield Finding.told("ledger", study.ledger_fault, remedy)
        return
    looks = looks_of(study.folder, study.attributes)
    if not is_copy(study.folder, looks):
        what = f"{path}: does not hold the looks at the test roles that the study does"
        remedy = f"write it again with the {len(looks)} looks of the study"
        yield Finding("ledger", what, remedy, partial(write_looks, study.folder, looks))


def cut_off(study: StudySnapshot) -> Iterator[Finding]:
    """A look at the test roles that was begun and has no end."""
    if study.ledger_fault is None and (begun := study.look_begun) is not None:
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


def champions(study: StudySnapshot) -> Iterator[Finding]:
    """Champions, their scores and what was promoted, where they are not as they were left."""
    commands = {
        "search": f"refkd search {study.path}",
        "finalists": f"refkd finalists {study.path}, with the --top and --seeds it had",
    }
    for by in get_args(Chooser):
        chosen = champions_of(study.attributes, by)
        for one in [] if chosen is None else unlike(study.folder, study.attributes, chosen):
            remedy = f"write it again: {commands[by]}"
            yield Finding("champion", one.what, remedy)
    for move in aliases_of(study.attributes).values():
        for one in [] if move.files is None else unlike(study.folder, study.attributes, move):
            yield Finding("champion", one.what, f"write it again: {promotion(study, move)}")


def finalists(study: StudySnapshot) -> Iterator[Finding]:
    """Finalists whose students are missing, damaged, or not those that were trained."""
    from refkd.training.export import WEIGHTS, open_student, record_hash

    for one in study_events(study.attributes, FinalistTrained):
        if one.failed is not None:
            continue
        folder = finalist_folder(study.folder, one.trial, one.replicate)
        try:
            record = open_student(folder).record
            fault = weights_fault(folder / WEIGHTS, one.sha256) or history_fault(folder, record)
            if one.record not in (None, record_hash(folder)):
                fault = f"{folder}: is another student than the one that was trained"
        except CheckpointError as error:
            fault = str(error)
        if fault is not None:
            what = f"finalist {one.trial}, seed {one.replicate}: {fault}"
            remedy = "restore the folder from a copy; a finalist is not trained again"
            yield Finding("finalist", what, remedy)


def promotion(study: StudySnapshot, move: AliasMoved) -> str:
    """Return the command that registers what an alias was moved to once more."""
    return f'refkd promote {study.path} --alias {move.alias} --trial {move.trial} --reason "again"'


RESULT_CHECKS = (ledger, final_results, champions, finalists)
"""Checks of what the report shows as results; they may be made while a driver is at work."""
