"""The dataset, teachers and students of a study on disk, each identified by a digest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from refkd.data.dataset import Dataset
from refkd.data.local_copy import kept_copy
from refkd.errors import RefKDError
from refkd.training.config import recorded
from refkd.training.export import RECORD, WEIGHTS, open_student, student_is_frozen
from refkd.training.knowledge import knowledge_address
from refkd.training.teacher import RECORD as TEACHER_RECORD
from refkd.training.teacher import AnyTeacher, find_teacher
from refkd.urls import Url
from tune.config.space import flat
from tune.config.study_file import StudyFile
from tune.study.events import teachers_of
from tune.tracking import operations as op

HASH_TAG = "refkd.sha256"
"""Tag of a student's model: the hash of its weights, by which a version is found again."""
LONGEST_DIGEST = 36
"""Characters that MLflow keeps of a dataset's digest."""
TEACHER_TAG, KNOWLEDGE_TAG = "refkd.teacher_", "refkd.knowledge_"
"""What begins the tags of a student that name its teachers and their knowledge, by role."""
_NOT_PARAMETERS = {"history", "metrics", "sha256", "dataset", "epoch"}
_OF_RUNS = {
    "refkd.trial",
    "refkd.attempt",
    "refkd.continues",
    "refkd.retries",
    "refkd.finalist_of",
}
"""Tags of a run that are not tags of its model."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lineage:
    """The dataset and the teachers that the students of a study are made from."""

    workspace: Path
    dataset: Dataset | None = None
    """None where it is not on this machine; then runs have no inputs and no models."""
    teachers: Mapping[str, AnyTeacher] = field(default_factory=dict)
    """By role; those that the study was made with."""

    @cached_property
    def _addresses(self) -> dict[str, str]:
        """The content address of each teacher's knowledge, by role."""
        if self.dataset is None:
            return {}
        return {role: knowledge_address(t, self.dataset) for role, t in self.teachers.items()}

    def tags(self) -> dict[str, str]:
        """Return the tags by which students are found from a teacher or its knowledge."""
        teachers = {f"{TEACHER_TAG}{role}": self.teachers[role].digest for role in self._addresses}
        return teachers | {f"{KNOWLEDGE_TAG}{r}": a for r, a in self._addresses.items()}

    @cached_property
    def data(self) -> op.Input:
        """The prepared dataset as an input of a run."""
        assert self.dataset is not None
        fingerprint = self.dataset.fingerprint
        counts = {role: count.pairs for role, count in self.dataset.manifest.roles.items()}
        return {
            "name": self.dataset.name,
            "digest": fingerprint[:LONGEST_DIGEST],
            "source": str(self.dataset.path.absolute()),
            "profile": json.dumps({"fingerprint": fingerprint, "pairs": counts}),
            "context": "training and validation",
        }

    def inputs(self) -> list[op.Input]:
        """Return what a student learns from: the dataset, and the knowledge of its teachers."""
        if self.dataset is None:
            return []
        folder, fingerprint = self.workspace.absolute() / "knowledge", self.dataset.fingerprint
        knowledge = [
            {
                "name": f"knowledge-{role}",
                "digest": address,
                "source": f"{folder}/{address}.npy",
                "profile": json.dumps(
                    {"teacher": self.teachers[role].digest, "dataset": fingerprint}
                ),
                "context": f"logits of teacher-{role}",
            }
            for role, address in self._addresses.items()
        ]
        return [self.data, *knowledge]

    def student(
        self,
        begun: op.BeginRun,
        folder: Path,
        epochs: Mapping[int, op.LogEpoch],
        *,
        ended: int,
        means: Mapping[str, float],
    ) -> Iterator[op.Operation]:
        """Yield the model of a student's run, if its folder holds a finished student.

        Its scores are the `means`, which the run has at its end, where they are of several seeds.
        """
        if self.dataset is None or not student_is_frozen(folder):
            return
        found = open_student(folder).record
        tags = _of_model(begun.tags)
        epoch = 0 if means else found.epoch
        yield op.KeepModel(
            run=begun.run,
            time=epochs[epoch].time if epoch in epochs else ended,
            name=f"student-{begun.name.partition('-')[2]}",
            paths=[str((folder / file).absolute()) for file in (WEIGHTS, RECORD)],
            model_type="student",
            sha256=found.sha256,
            epoch=epoch,
            metrics=means or op.validation(found.metrics),
            dataset=self.data,
            params=op.as_text(flat(recorded(found.config))),
            tags={**tags, "refkd.role": "student", HASH_TAG: found.sha256},
        )

    def teacher(self, role: str, tags: Mapping[str, str]) -> Iterator[op.Operation]:
        """Yield a teacher's run, which ends when its record was written, whoever trained it."""
        key, name, teacher = f"teacher/{role}", f"teacher-{role}", self.teachers[role]
        record = teacher.record
        parameters = op.as_text(flat(record.model_dump(mode="json", exclude=_NOT_PARAMETERS)))
        tags = {**tags, "refkd.role": name, "refkd.digest": teacher.digest}
        if teacher.origin is not None:
            tags["refkd.imported"] = str(teacher.origin)
        took = [past["metrics"].get("cost/wall_seconds", 0.0) for past in record.history]
        ended = (teacher.folder / TEACHER_RECORD).stat().st_mtime
        began, end = ended - max(took, default=0.0), op.milliseconds(ended)
        begun = op.milliseconds(began)
        made = op.BeginRun(run=key, time=begun, name=name, params=parameters, tags=tags)
        yield replace(made, datasets=[self.data])
        times = {}
        for past, seconds in zip(record.history, took, strict=True):
            times[past["epoch"]] = at = op.milliseconds(began + seconds)
            yield op.LogEpoch(run=key, time=at, epoch=past["epoch"], metrics=past["metrics"])
        record_file = teacher.folder / TEACHER_RECORD
        digests = {teacher.weights: record.sha256, record_file: teacher.digest}
        paths = {str(file.absolute()): found for file, found in digests.items()}
        for path, digest in paths.items():
            yield op.KeepFile(run=key, time=end, path=path, folder="teacher", sha256=digest)
        yield op.KeepModel(
            run=key,
            time=times.get(record.epoch, end),
            name=name,
            paths=list(paths),
            model_type="teacher",
            sha256=teacher.digest,
            epoch=record.epoch,
            metrics=op.validation(record.metrics),
            dataset=self.data,
            params=parameters,
            tags=_of_model(tags),
        )
        kept = {"refkd.kept_epoch": str(record.epoch)}
        scores = op.kept_scores(record.metrics)
        yield op.EndRun(run=key, time=end, status="FINISHED", tags=kept, metrics=scores)


def _of_model(tags: Mapping[str, str]) -> dict[str, str]:
    """Return which tags of a run are tags of its model too."""
    return {n: v for n, v in tags.items() if n not in _OF_RUNS and not n.startswith("mlflow.")}


def found_on_disk(
    file: StudyFile,
    attributes: Mapping[str, Any],
    dataset: Dataset | None = None,
    *,
    looking: bool = False,
) -> Lineage:
    """Return the dataset, unless it is given, and teachers of a study that are still there.

    Who is `looking` copies no dataset to this machine, and notes nowhere that it was verified.
    """
    workspace = file.workspace.absolute()
    if dataset is None:
        place: Path | Url | None = file.dataset
        if looking and isinstance(place, Url):
            place = kept_copy(str(attributes.get("dataset")))
        with suppress(RefKDError, OSError, ValueError):  # then runs have no inputs
            dataset = None if place is None else Dataset.open(place, verify=not looking)
        if dataset is None or dataset.fingerprint != attributes.get("dataset"):
            return Lineage(workspace=workspace)
    folders: Mapping[str, str] = attributes.get("teachers", {})
    teachers: dict[str, AnyTeacher] = {}
    for role, name in folders.items():
        with suppress(RefKDError, OSError):
            if teacher := find_teacher(workspace / "teachers" / name):
                teachers[role] = teacher
    expected = {role: trained.digest for role, trained in teachers_of(attributes).items()}
    if any(expected.get(role, one.digest) != one.digest for role, one in teachers.items()):
        teachers = {}
    return Lineage(workspace=workspace, dataset=dataset, teachers=teachers)
