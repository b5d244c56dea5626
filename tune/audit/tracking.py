"""Whether MLflow holds what it should hold of a study, and the operations that write the rest."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from refkd.urls import Url
from tune import compat
from tune.audit.results import promotion
from tune.audit.study import Finding, same
from tune.results.promote import kept_folder, register_again
from tune.study.events import AliasMoved, aliases_of, teachers_of
from tune.study.home import elsewhere
from tune.study.snapshot import StudySnapshot
from tune.study.sqlite_view import copied
from tune.study.storage import StorageError, store_file
from tune.study.stored_study import identity_of
from tune.study.view import ENDED_STATES
from tune.tracking import operations as op
from tune.tracking.delivery import send
from tune.tracking.lineage import found_on_disk
from tune.tracking.projection import Projection
from tune.tracking.reach import TrackingError, asked
from tune.tracking.record import CLOSE_SECONDS
from tune.tracking.target import Target, client_settings, target_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tune.tracking.store import Store

_Fault = tuple[str, str, str, Sequence[op.Operation] | None]
"""Check, what is wrong, the remedy, and the operations that put it right."""


def record(study: StudySnapshot) -> Iterator[Finding]:
    """Everything about the MLflow record of a study, unless tracking is switched off."""
    begun = any(view.state in (*ENDED_STATES, "RUNNING") for view in study.trials)
    if not study.file.tracking.enabled or not begun:
        return
    found = elsewhere(study.file, study.attributes)
    if found is not None and found.is_double:
        what = f"{found.here} is a copy of {found.folder}, and has no runs of its own in MLflow"
        yield Finding("record", what, f"make it a study of its own: refkd search {study.path}")
        return
    target = target_of(study.file, identity_of(study.attributes))
    if target is None:
        what = "nothing of the study was ever sent to MLflow"
        yield Finding("delivery", what, f"send it: `refkd sync {study.path}`")
        return
    lineage = found_on_disk(study.file, study.attributes, looking=True)
    wanted = Projection(study.file, study.attributes, study.trials, lineage).operations()
    waiting = target.cursor().pending(wanted)
    if waiting:
        what = f"{len(waiting)} events have not reached MLflow"
        yield Finding("delivery", what, "send them", partial(send, target, waiting, CLOSE_SECONDS))
    if target.refused.is_file():
        remedy = "read the reasons there; remove the file once they are dealt with"
        yield Finding("delivery", f"{target.refused}: MLflow refused events", remedy)
    with client_settings(), TemporaryDirectory(prefix="refkd-doctor-") as scratch:
        file, reading = store_file(target.uri), target
        if file is not None and file.exists():
            copy = Path(scratch) / file.name
            fault = _no_store(file, copy)
            if fault is not None:
                remedy = (
                    "restore it from a copy; or move it away, and --fix sends everything again"
                )
                yield Finding("record", f"{file}: {fault}", remedy)
                return
            reading = replace(target, uri=Url.of_file(copy))
        yield from _against_store(study, target, reading, wanted)


def _no_store(file: Path, copy: Path) -> str | None:
    """Copy a file; return why it is no store of MLflow, which would make one of it, or None."""
    try:
        copied(file, copy.parent)
        with closing(sqlite3.connect(copy)) as connection:
            for table, column in compat.SQL_ARTIFACTS:
                connection.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchall()
    except (OSError, sqlite3.Error, StorageError) as error:
        return f"is no store of MLflow, or is damaged ({error})"
    return None


def _against_store(
    study: StudySnapshot, target: Target, reading: Target, wanted: Sequence[op.Operation]
) -> Iterator[Finding]:
    """Compare a store; it is read at `reading`, where it is a file a copy."""
    from tune.tracking.store import Store

    send_again = partial(send, target, seconds=CLOSE_SECONDS, again=True)
    try:
        file = store_file(reading.uri)
        with asked(target.uri):
            store = None if file is not None and not file.exists() else Store.find(reading)
            runs = {} if store is None else store.runs()
            models = set() if store is None else store.models()
    except TrackingError as error:
        said = str(error).replace(str(reading.uri), str(target.uri))
        yield Finding.told("record", said, "mend it, then ask the doctor again")
        return
    if store is None:
        what, remedy = (
            f"MLflow has no experiment {target.experiment!r}",
            "make it and send everything again",
        )
        yield Finding("record", what, remedy, partial(send_again, wanted))
        return
    yield from _registered(study, reading, store)
    for key, found in sorted(runs.items()):
        if len(found) > 1:
            what = f"{key} has {len(found)} runs in MLflow"
            remedy = "keep the fullest, of equals the oldest, and delete the others"
            yield Finding("duplicate", what, remedy, partial(_keep_one, target, key))
    of_run: dict[str, list[op.Operation]] = defaultdict(list)
    for one in wanted:
        of_run[one.run].append(one)
    for role in teachers_of(study.attributes):  # also one that is not on this machine
        of_run.setdefault(f"teacher/{role}", [])
    for key, own in of_run.items():
        run = runs[key][0] if key in runs else None
        unkept = any(isinstance(one, op.KeepModel) and one.sha256 not in models for one in own)
        end = next((one for one in own if isinstance(one, op.EndRun)), None)
        faults: Iterator[_Fault] = iter(())
        if not key.startswith(("trial/", "finalist/")):
            faults = _of_other(key, run, end, unkept, wanted if own else None)
        elif end is not None:
            name, there = study.file.objectives[0], {}
            if run is not None:  # all metrics of an epoch are written together: one is compared
                history = store.client.get_metric_history(run.info.run_id, name)
                there = {point.step: point.value for point in history}
            faults = _of_student(study, own, end, run, there, unkept)
        for check, what, remedy, lacking in faults:
            fix = None if lacking is None else partial(send_again, lacking)
            yield Finding(check, what, remedy, fix)


def _keep_one(target: Target, key: str) -> None:
    """Delete all runs with a key but the fullest."""
    from tune.tracking.store import Store

    Store.open(target).run(key)


def _registered(study: StudySnapshot, target: Target, store: Store) -> Iterator[Finding]:
    """Compare the registry with the moves of aliases that the study holds.

    What a person has moved stays; what is gone is registered again from weights that were kept.
    """
    moves = aliases_of(study.attributes)
    if not moves:
        return
    from tune.tracking.registry import alias_fault, version_fault

    faults = defaultdict[tuple[str, bool], list[AliasMoved]](list)
    versions = defaultdict[tuple[str, str], list[AliasMoved]](list)
    with compat.tracking_at(target.uri.reveal()):
        for move in moves.values():
            if (differs := alias_fault(store.client, move)) is not None:
                faults[differs].append(move)
            else:
                versions[move.model, move.version].append(move)
        for sharing in versions.values():
            if (damage := version_fault(store.client, sharing[0])) is not None:
                faults[damage, True].extend(sharing)
    for (fault, is_gone), moved in faults.items():
        if is_gone and all(kept_folder(study, move) for move in moved):
            remedy, fix = "register it again", partial(register_again, study, moved)
            yield Finding("registry", fault, remedy, fix)
        else:
            yield Finding("registry", fault, f"register it again: {promotion(study, moved[0])}")


def _of_other(
    key: str,
    run: Run | None,
    end: op.EndRun | None,
    unkept: bool,
    everything: Sequence[op.Operation] | None,
) -> Iterator[_Fault]:
    """Compare the study's own run, or a teacher's, which students refer to.

    `everything` would mend it; None where what a teacher's run is made of is not on this machine.
    """
    own, lacks = key == op.STUDY_RUN, "logged model" if unkept else None
    if run is None or (not own and run.info.status != "FINISHED"):
        lacks = "finished run"
    if lacks is not None:
        what = f"{_named(key)} has no {lacks} in MLflow"
        remedy = "send everything again" if everything else "bring back what it was trained from"
        yield "record", what, remedy, everything
    elif own and run is not None and run.info.status == "RUNNING" and end is not None:
        what = "the study's run is RUNNING in MLflow, but no driver is"
        yield "status", what, f"close it as {end.status}", [end]


def _of_student(
    study: StudySnapshot,
    wanted: Sequence[op.Operation],
    end: op.EndRun,
    run: Run | None,
    there: Mapping[int, float],
    unkept: bool,
) -> Iterator[_Fault]:
    """Compare the run of a trial or a finalist that has ended; it holds the values `there`."""
    who, name = _named(end.run), study.file.objectives[0]
    epochs = [one for one in wanted if isinstance(one, op.LogEpoch) and name in one.metrics]
    steps = {one.epoch: one.metrics[name] for one in epochs}
    lacking = sorted(set(steps) - set(there))
    taught = any(isinstance(one, op.BeginRun) and one.models for one in wanted)
    unlinked = "its student is no logged model in MLflow" if unkept else None
    if run is not None and taught and op.NOTE_TAG not in run.data.tags:
        unlinked = "its run in MLflow names no teachers"
    if run is None or lacking:
        lacks = "no run" if run is None else f"a run without the epochs {lacking}"
        yield "steps", f"{who} has {lacks} in MLflow", "log what the study holds", wanted
    elif run.info.status != end.status:
        what = f"{who} is {end.tags['refkd.state']}, its run in MLflow {run.info.status}"
        yield "status", what, f"close it as {end.status}", wanted
    elif unlinked is not None:
        yield "lineage", f"{who}: {unlinked}", "write what the study and its folder hold", wanted
    wrong = sorted(e for e in set(steps) & set(there) if not same([steps[e]], [there[e]]))
    if wrong:
        what = f"{who}: MLflow and the study differ in {name} of epochs {wrong}"
        remedy = "the study is right: delete the run, purge it with `mlflow gc`, then run "
        yield "steps", what, f"{remedy}`refkd doctor {study.path} --fix`", None


def _named(key: str) -> str:
    """Return what a run is called in a finding.

    >>> _named("study"), _named("teacher/id"), _named("trial/0003"), _named("finalist/0003/seed-1")
    ('the study', 'teacher id', 'trial 3', 'finalist 3, seed 1')
    """
    if key == op.STUDY_RUN:
        return "the study"
    kind, _, rest = key.partition("/")
    which, _, seed = rest.partition("/seed-")
    who = f"{kind} {int(which) if which.isdigit() else which}"
    return f"{who}, seed {seed}" if seed else who
