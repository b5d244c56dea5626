"""Checks of files: the dataset, checkpoints, temporary files and knowledge."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from refkd.data.local_copy import kept_copy
from refkd.data.manifest import check_files, read_manifest
from refkd.errors import DataError
from refkd.files import sha256_file, temporaries
from refkd.urls import Url
from tune.audit.study import Finding
from tune.execution.jobs import CHECKPOINTS
from tune.study.events import teachers_of
from tune.study.folders import trial_folder
from tune.study.snapshot import StudySnapshot

UNTOUCHED = 60.0
"""Seconds after which no writer is at work on a temporary file in a shared folder."""


def left_checkpoints(study: StudySnapshot) -> Iterator[Finding]:
    """Checkpoints that are no longer needed; those of complete trials may be, for more epochs."""
    left = [
        (f"trial {view.number} is {view.state}", folder)
        for view in study.ended("PRUNED", "FAIL")
        for folder in _checkpoints(trial_folder(study.folder, view.number))
    ]
    for role, home in study.teacher_folders().items():
        if (home / "teacher.json").is_file() and (home / CHECKPOINTS).is_dir():
            left.append((f"teacher {role} is trained", home / CHECKPOINTS))
    for why, folder in left:
        what = f"{folder}: {why}, its checkpoints are still there"
        yield Finding("checkpoints", what, "remove them", partial(shutil.rmtree, folder))


def damaged_checkpoints(study: StudySnapshot) -> Iterator[Finding]:
    """Damaged checkpoints that training may still continue from."""
    from refkd.training.checkpoint import CheckpointFolder

    folders = [
        folder
        for view in study.trials
        if view.state in ("RUNNING", "COMPLETE")
        for folder in _checkpoints(trial_folder(study.folder, view.number))
    ]
    for teacher in study.teacher_folders().values():
        folders += [] if (teacher / "teacher.json").is_file() else _checkpoints(teacher)
    for folder in folders:
        found = CheckpointFolder(folder)
        whole = found.newest()
        last = 0 if whole is None else whole.epoch
        for epoch in (e for e in found.epochs() if e > last):
            what = f"{folder / f'epoch-{epoch:04d}'}: is damaged"
            start = f"epoch {last}" if last else "the beginning"
            remedy = f"remove it: training goes on from {start}"
            yield Finding("checkpoint", what, remedy, partial(found.remove, epoch))


def half_written(study: StudySnapshot) -> Iterator[Finding]:
    """Temporary files of writers that were killed."""
    own = [(path, 0.0) for path in temporaries(study.folder)]
    shared = [*study.teacher_folders().values(), study.file.workspace.absolute() / "knowledge"]
    others = [(path, UNTOUCHED) for folder in shared for path in temporaries(folder)]
    for path, wait in own + others:
        if time.time() - path.stat().st_mtime >= wait:
            what = f"{path}: was left half written"
            yield Finding("temporary", what, "remove it", partial(_remove, path))


def knowledge(study: StudySnapshot) -> Iterator[Finding]:
    """Knowledge of the study's teachers that changed since it was written."""
    digests = {teacher.digest for teacher in teachers_of(study.attributes).values()}
    for record in sorted((study.file.workspace.absolute() / "knowledge").glob("*.json")):
        logits = record.with_suffix(".npy")
        try:
            facts = json.loads(record.read_text(encoding="utf-8"))
            ours, expected = facts["teacher"] in digests, facts["sha256"]
        except (ValueError, KeyError, TypeError):
            ours, expected = True, None
        if ours and not (logits.is_file() and sha256_file(logits) == expected):
            what = f"{logits}: is damaged or missing"
            remedy = "remove it and its record: the search computes it again"
            yield Finding("knowledge", what, remedy, partial(_remove, record, logits))


def dataset(study: StudySnapshot) -> Iterator[Finding]:
    """A dataset that is missing, another one, or has a byte that is not the manifest's."""
    expected, place = study.attributes.get("dataset"), study.file.dataset
    copy = isinstance(place, Url)
    folder = kept_copy(str(expected)) if isinstance(place, Url) else place.absolute()
    if folder is None:
        return  # at an address, which each machine compares with the manifest as it copies it
    fix = partial(shutil.rmtree, folder) if copy else None
    try:
        manifest = read_manifest(folder)
    except (DataError, OSError) as error:
        yield _damaged(error, fix)
        return
    if expected not in (None, manifest.fingerprint):
        what = f"{folder}: is another dataset than the one that was searched on"
        yield _damaged(f"{what}; restore that one ({str(expected)[:12]}…)", fix)
    for name in manifest.open_files:
        try:
            check_files(folder, manifest, (name,), full=True)
        except (DataError, OSError) as error:
            yield _damaged(error, fix)


def _damaged(error: object, fix: Callable[[], object] | None) -> Finding:
    if fix is None:
        return Finding.told("dataset", error, "copy the folder again")
    remedy = "remove this machine's copy: the next search fetches it again"
    return Finding("dataset", str(error).partition("; ")[0], remedy, fix)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob(CHECKPOINTS) if path.is_dir())


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


FILE_CHECKS = (dataset, left_checkpoints, damaged_checkpoints, half_written, knowledge)
