"""Telling MLflow again what it should have known: from the spool, or from the study itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from refkd.errors import RefKDError
from tune.study.events import teachers_of
from tune.study.view import EPOCH, key_of
from tune.tracking.lineage import Lineage
from tune.tracking.record import (
    CLOSE_SECONDS,
    Record,
    artifact_root,
    experiment_name,
    marks_tag,
    tracking_uri,
    trial_key,
)
from tune.tracking.tracker import Tracker, target_of

if TYPE_CHECKING:
    from refkd.data.dataset import Dataset
    from refkd.training.teacher import Teacher
    from tune.study.snapshot import StudySnapshot
    from tune.study.view import TrialView
    from tune.tracking.spool import Spool


@dataclass(frozen=True, kw_only=True, slots=True)
class Ancestors:
    """What the students of a study are made of."""

    dataset: Dataset
    teachers: Mapping[str, Teacher]


def ancestors(study: StudySnapshot) -> Ancestors | None:
    """Return the study's own dataset and teachers, None where they do not lie here any more."""
    from refkd.data.dataset import Dataset
    from refkd.training.teacher import find_teacher

    digests = {role: one.digest for role, one in teachers_of(study.attributes).items()}
    try:
        dataset = Dataset.open(study.file.dataset)
        found = {role: find_teacher(folder) for role, folder in study.teacher_folders().items()}
    except (RefKDError, OSError):
        return None
    teachers = {role: one for role, one in found.items() if one is not None}
    if {role: one.digest for role, one in teachers.items()} != digests:
        return None
    if dataset.fingerprint != study.attributes.get("dataset"):
        return None
    return Ancestors(dataset=dataset, teachers=teachers)


def drain(study: StudySnapshot, spool: Spool, *, again: bool) -> None:
    """Send what the spool holds, from its mark on or from the start: all of it bears repeating."""
    uri, experiment = tracking_uri(study.file), experiment_name(study.file)
    if again and uri is not None:
        spool.set_mark(target_of(uri, experiment), 0)
    root = artifact_root(study.file)
    name = study.file.name
    Tracker(uri, experiment, spool.folder, study=name, artifact_root=root).close(CLOSE_SECONDS)


def retell(study: StudySnapshot, spool: Spool, view: TrialView, epochs: Sequence[int]) -> None:
    """Write to MLflow what the study holds of a trial that has ended: of its curve, some epochs.

    What the trial is made of and its student are told where dataset and teachers still lie where
    they lay.
    """
    with TemporaryDirectory(prefix="refkd-") as name:
        shutil.copy(spool.folder / "identity", name)  # so that its runs are found again
        with _Again(study, _as_told(view, spool), name) as record:
            record.tell(epochs)


def _as_told(view: TrialView, spool: Spool) -> TrialView:
    """Return a trial whose epochs have the times under which the spool told them, where it did.

    What reached MLflow is then told with its own time, which makes no second row of it.
    """
    stamps = dict(view.stamps)
    for epoch in view.curve:
        key, told = key_of(EPOCH, epoch), spool.time_of(trial_key(view.number), epoch)
        if told is not None:
            stamps[key] = replace(stamps[key], time=told / 1000)
    return replace(view, stamps=stamps)


class _Again(Record):
    """A record of one trial, through a spool that is thrown away."""

    def __init__(self, study: StudySnapshot, view: TrialView, folder: str) -> None:
        super().__init__(study.file, spool=Path(folder))
        self._view = view
        found = ancestors(study) if teachers_of(study.attributes) else None
        self._tags = {
            "refkd.study_name": study.file.name,
            "refkd.dataset_fingerprint": str(study.attributes.get("dataset", "unknown")),
            "refkd.seed": str(study.file.seed),
            **marks_tag(study.file),
        }
        if found is not None:
            self._dataset = found.dataset
            self._tags["refkd.dataset"] = found.dataset.name
            self._descend(Lineage(found.dataset, found.teachers, self._knowledge))

    def tell(self, epochs: Sequence[int]) -> None:
        """Tell of the trial from start to end, but of its curve no other epochs."""
        view = self._view
        for epoch in view.curve:
            self._tracker.knows(trial_key(view.number), epoch, view.time_of(epoch))
        self._catch_up(replace(view, curve={epoch: view.curve[epoch] for epoch in epochs}))

    def _views(self) -> list[TrialView]:
        return [self._view]
