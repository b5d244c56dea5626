"""What should stand in MLflow of a study: a function of its events, and of what they made on disk.

Nothing is written here and nothing is asked of a server. The same study gives the same operations
with the same times, whoever asks and however often.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from refkd.data.dataset import Dataset
from refkd.files import sha256_file
from refkd.training.export import RECORD, WEIGHTS, open_student, student_is_frozen
from refkd.training.teacher import RECORD as TEACHER_RECORD
from refkd.training.teacher import WEIGHTS as TEACHER_WEIGHTS
from refkd.training.teacher import Teacher
from tune.config.space import flat
from tune.config.study_file import StudyFile
from tune.study.budget import reached
from tune.study.environment import Environment
from tune.study.events import (
    FinalistEpochEnded,
    FinalistsBegun,
    FinalistTrained,
    study_events,
)
from tune.study.folders import finalist_folder, trial_folder
from tune.study.launches import Launch, read_launches
from tune.study.view import ASKED, TrialView
from tune.tracking.lineage import Lineage, dataset_input
from tune.tracking.operations import (
    STUDY_RUN,
    BeginRun,
    EndRun,
    KeepFile,
    KeepModel,
    LinkInputs,
    LogEpoch,
    Operation,
    Status,
    finalist_key,
    trial_key,
)

HASH_TAG = "refkd.sha256"
"""Tag of a student's model: the hash of its weights, by which a version is found again."""
MARKS_TAG = "refkd.marks"
"""Tag of runs and models: why they are not to be taken at their names."""
STATUS: Mapping[str, Status] = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
"""MLflow's word for each way in which a trial ends."""
_NOT_PARAMETERS = {"history", "metrics", "sha256", "dataset", "epoch"}


@dataclass(frozen=True, kw_only=True)
class Made:
    """What lies on disk beside a study: it is frozen, and known by its digests."""

    workspace: Path
    dataset: Dataset | None = None
    teachers: Mapping[str, Teacher] = field(default_factory=dict)
    """By role; those that the study was made with."""

    @cached_property
    def lineage(self) -> Lineage | None:
        """What students are made of, where the dataset is here."""
        if self.dataset is None:
            return None
        return Lineage(self.dataset, self.teachers, str(self.workspace.absolute() / "knowledge"))


class Projection:
    """A study at one moment, and what MLflow should hold of it."""

    def __init__(
        self,
        file: StudyFile,
        attributes: Mapping[str, Any],
        views: Sequence[TrialView],
        made: Made,
        *,
        at_work: bool = False,
    ) -> None:
        """`attributes` are the study's own; `at_work` says whether a driver is."""
        self._file, self._attributes, self._views = file, attributes, views
        self._made, self._at_work = made, at_work
        self._launches = {one.number: one for one in read_launches(attributes)}
        self._files: dict[int, StudyFile] = {}
        self._lineage = made.lineage

    def operations(self) -> list[Operation]:
        """Return all of it: the study's run, teachers, trials, finalists."""
        trials = [one for view in self._views for one in self.trial(view)]
        return [*self.study(), *trials, *self.finalists(), *self.end()]

    def study(self) -> list[Operation]:
        """Return the study's own run, still open, and those of its teachers."""
        if not self._launches:
            return []
        first, last = self._launches[min(self._launches)], self._launches[max(self._launches)]
        begun = [last.begun, *(one.begun for one in self._finals)]
        code = self._finals[-1].environment if self._finals else last.environment
        launched = datetime.fromtimestamp(max(begun), UTC).isoformat(timespec="milliseconds")
        file = self._file_of(last.number)
        settings = file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        run = BeginRun(
            run=STUDY_RUN,
            time=_ms(first.begun),
            name=file.name,
            params=as_text(flat(settings)),
            tags={
                **self._tags(file, code),
                "refkd.launched": launched,
                "refkd.study": file.name,
                "refkd.role": "study",
            },
        )
        found: list[Operation] = [run]
        manifest = None if self._made.dataset is None else self._made.dataset.path
        for path in (self._file.folder / "study.yaml", manifest and manifest / "manifest.json"):
            if path is not None and path.is_file():
                found.append(kept_file(STUDY_RUN, path, None, at=max(begun)))
        if self._made.dataset is not None:
            data = [dataset_input(self._made.dataset)]
            found.append(LinkInputs(run=STUDY_RUN, time=run.time, datasets=data, models=[]))
            for role, teacher in self._made.teachers.items():
                found += self._teacher(role, teacher, self._made.dataset, first)
        return found

    def end(self) -> list[Operation]:
        """Return the end of the study's run, unless a driver is at work."""
        if self._at_work or not self._launches:
            return []
        states = [view.state for view in self._views]
        ended = sum(state in STATUS for state in states)
        enough = ended >= self._file.budget.trials or self._is_used_up()
        done = enough and "RUNNING" not in states and "WAITING" not in states
        times = [stamp.time for view in self._views for stamp in view.stamps.values()]
        return [
            EndRun(
                run=STUDY_RUN,
                time=_ms(max([*times, *(one.last for one in self._launches.values())])),
                status="FINISHED" if done else "KILLED",
                tags={},
                metrics={},
            )
        ]

    def trial(self, view: TrialView) -> list[Operation]:
        """Return the run of a trial that was begun, as far as it has come."""
        if ASKED not in view.stamps:
            return []
        key, asked = trial_key(view.number), view.stamps[ASKED]
        launch = self._launches.get(asked.launch)
        file = self._file if launch is None else self._file_of(launch.number)
        tags = {
            **self._tags(file, None if launch is None else launch.environment),
            **self._descent(),
            "refkd.trial": str(view.number),
            "refkd.role": "student",
            "refkd.attempt": str(view.attributes.get("attempt", 1)),
        }
        if view.continues:
            tags["refkd.continues"] = str(view.attributes["continues"])
        found: list[Operation] = [
            BeginRun(
                run=key,
                time=_ms(asked.time),
                name=f"trial-{view.number:04d}",
                params=as_text({**file.fixed(), **view.values}),
                tags=tags,
            ),
            *self._inputs(key, asked.time),
        ]
        for epoch, metrics in view.curve.items():
            at = _ms(view.time_of(epoch))
            found.append(LogEpoch(run=key, time=at, epoch=epoch, metrics=metrics))
        if view.state not in STATUS:
            return found
        ended = view.ended or asked.time
        complete = view.state == "COMPLETE"
        if complete:
            folder = trial_folder(self._file.folder, view.number)
            times = {epoch: view.time_of(epoch) for epoch in view.curve}
            found += self._student(
                key, f"student-{view.number:04d}", folder, tags, times, at=ended
            )
        outcome = {"refkd.state": view.state}
        if view.reason:
            outcome["refkd.reason"] = view.reason
        scores = kept_scores(view.kept) if complete else {}
        status = STATUS[view.state]
        found.append(EndRun(run=key, time=_ms(ended), status=status, tags=outcome, metrics=scores))
        return found

    def finalists(self) -> list[Operation]:
        """Return the runs of students on fresh seeds, each below its trial's."""
        epochs: dict[tuple[int, int], list[FinalistEpochEnded]] = {}
        for one in study_events(self._attributes, FinalistEpochEnded):
            epochs.setdefault((one.trial, one.replicate), []).append(one)
        results = study_events(self._attributes, FinalistTrained)
        ended = {(one.trial, one.replicate): one for one in results}
        begun: dict[tuple[int, int], tuple[int, FinalistsBegun]] = {}
        for call in self._finals:
            for replicate, seed in enumerate(call.seeds):
                for number in call.trials:
                    begun.setdefault((number, replicate), (seed, call))
        return [
            one
            for place, (seed, call) in sorted(begun.items())
            for one in self._finalist(place, seed, call, epochs.get(place, []), ended.get(place))
        ]

    def _finalist(
        self,
        place: tuple[int, int],
        seed: int,
        call: FinalistsBegun,
        epochs: Sequence[FinalistEpochEnded],
        ended: FinalistTrained | None,
    ) -> Iterator[Operation]:
        number, replicate = place
        key, named = finalist_key(number, replicate), f"{number:04d}-seed-{replicate}"
        tags = {
            **self._tags(self._file, call.environment),
            **self._descent(),
            "refkd.finalist_of": str(number),
            "refkd.role": "finalist",
        }
        values = self._views[number].values
        yield BeginRun(
            run=key,
            time=_ms(call.begun),
            name=f"finalist-{named}",
            params=as_text({**self._file.fixed(), **values, "seed": seed}),
            tags=tags,
            parent=trial_key(number),
        )
        yield from self._inputs(key, call.begun)
        epochs = sorted(epochs, key=lambda one: one.epoch)
        for one in epochs:
            yield LogEpoch(run=key, time=_ms(one.at), epoch=one.epoch, metrics=one.metrics)
        if ended is None:
            return
        last = epochs[-1].at if epochs else call.begun
        folder = finalist_folder(self._file.folder, number, replicate)
        times = {one.epoch: one.at for one in epochs}
        yield from self._student(key, f"student-{named}", folder, tags, times, at=last)
        outcome = {"refkd.state": "FAIL" if ended.failed else "COMPLETE"}
        if ended.failed:
            outcome["refkd.reason"] = ended.failed
        yield EndRun(
            run=key,
            time=_ms(last),
            status="FAILED" if ended.failed else "FINISHED",
            tags=outcome,
            metrics=kept_scores(ended.metrics),
        )

    @cached_property
    def _finals(self) -> list[FinalistsBegun]:
        return study_events(self._attributes, FinalistsBegun)

    def _is_used_up(self) -> bool:
        launches = self._launches.values()
        seconds = sum(one.last - one.begun for one in launches)
        return reached(self._file, self._views, lambda: seconds) is not None

    def _file_of(self, launch: int) -> StudyFile:
        """Return the study file of a launch, checked once."""
        if launch not in self._files:
            self._files[launch] = self._launches[launch].study_file()
        return self._files[launch]

    def _tags(self, file: StudyFile, code: Environment | None) -> dict[str, str]:
        """Return what runs and models of a launch are found by."""
        dataset, known = self._made.dataset, self._attributes.get("dataset", "unknown")
        named = {} if dataset is None else {"refkd.dataset": dataset.name}
        return {
            "refkd.study_name": file.name,
            **named,
            "refkd.dataset_fingerprint": known if dataset is None else dataset.fingerprint,
            "refkd.seed": str(file.seed),
            **marks_tag(file),
            **({} if code is None else code.tags()),
        }

    def _descent(self) -> dict[str, str]:
        return {} if self._lineage is None else self._lineage.tags()

    def _inputs(self, key: str, at: float) -> list[Operation]:
        if self._lineage is None:
            return []
        return [LinkInputs(run=key, time=_ms(at), **self._lineage.inputs())]

    def _student(
        self,
        key: str,
        name: str,
        folder: Path,
        tags: Mapping[str, str],
        times: Mapping[int, float],
        *,
        at: float,
    ) -> list[Operation]:
        """Return the student in a folder, if there is one, as a model of its run."""
        if self._made.dataset is None or not student_is_frozen(folder):
            return []
        found = open_student(folder).record
        return [
            KeepModel(
                run=key,
                time=_ms(times.get(found.epoch, at)),
                name=name,
                paths=[str((folder / file).absolute()) for file in (WEIGHTS, RECORD)],
                model_type="student",
                sha256=found.sha256,
                epoch=found.epoch,
                metrics=validation(found.metrics),
                dataset=dataset_input(self._made.dataset),
                params=as_text(flat(found.config.model_dump(mode="json"))),
                tags={
                    **{k: v for k, v in tags.items() if k not in _OF_RUNS},
                    "refkd.role": "student",
                    HASH_TAG: found.sha256,
                },
            )
        ]

    def _teacher(
        self, role: str, teacher: Teacher, dataset: Dataset, launch: Launch
    ) -> Iterator[Operation]:
        """Yield a teacher's run with its weights, config and scores, whichever launch trained it.

        Its time is that of its record; within it an epoch has the time that it took.
        """
        key, name = f"teacher/{role}", f"teacher-{role}"
        record = teacher.record
        parameters = as_text(flat(record.model_dump(mode="json", exclude=_NOT_PARAMETERS)))
        tags = {
            **self._tags(self._file_of(launch.number), launch.environment),
            "refkd.role": name,
            "refkd.digest": teacher.digest,
        }
        took = [past["metrics"].get("cost/wall_seconds", 0.0) for past in record.history]
        ended = (teacher.folder / TEACHER_RECORD).stat().st_mtime
        began = ended - max(took, default=0.0)
        data = dataset_input(dataset)
        yield BeginRun(run=key, time=_ms(began), name=name, params=parameters, tags=tags)
        yield LinkInputs(run=key, time=_ms(began), datasets=[data], models=[])
        times = {}
        for past, seconds in zip(record.history, took, strict=True):
            times[past["epoch"]] = at = _ms(began + seconds)
            yield LogEpoch(run=key, time=at, epoch=past["epoch"], metrics=past["metrics"])
        paths = [teacher.folder / file for file in (TEACHER_WEIGHTS, TEACHER_RECORD)]
        for path, digest in zip(paths, (record.sha256, teacher.digest), strict=True):
            yield KeepFile(
                run=key,
                time=_ms(ended),
                path=str(path.absolute()),
                folder="teacher",
                sha256=digest,
            )
        yield KeepModel(
            run=key,
            time=times.get(record.epoch, _ms(ended)),
            name=name,
            paths=[str(path.absolute()) for path in paths],
            model_type="teacher",
            sha256=teacher.digest,
            epoch=record.epoch,
            metrics=validation(record.metrics),
            dataset=data,
            params=parameters,
            tags=tags,
        )
        yield EndRun(
            run=key,
            time=_ms(ended),
            status="FINISHED",
            tags={"refkd.kept_epoch": str(record.epoch)},
            metrics=kept_scores(record.metrics),
        )


_OF_RUNS = {"refkd.trial", "refkd.attempt", "refkd.continues", "refkd.finalist_of"}
"""Tags of a run that its model does not bear."""


def kept_file(run: str, path: Path, folder: str | None, *, at: float) -> KeepFile:
    """Return that a run holds a copy of a file as it is now."""
    return KeepFile(
        run=run, time=_ms(at), path=str(path.absolute()), folder=folder, sha256=sha256_file(path)
    )


def marks_tag(file: StudyFile) -> dict[str, str]:
    """Return the tag that warns of leakage and reconstructions; nothing where there are none."""
    marks = file.caveats()
    return {MARKS_TAG: "; ".join(marks)} if marks else {}


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as MLflow keeps parameters."""
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}


def kept_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the validation scores of the weights that were kept, under names of their own."""
    return {f"kept/{name}": value for name, value in validation(metrics).items()}


def validation(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of the validation roles."""
    return {name: value for name, value in metrics.items() if name.startswith("val_")}


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
