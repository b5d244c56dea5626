"""What a launch tells MLflow: a run for the study, one for each teacher, one for each trial."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from refkd.data.dataset import Dataset
from refkd.files import replaced
from refkd.training.export import RECORD, WEIGHTS, open_student, student_is_frozen
from refkd.training.teacher import Teacher
from tune.config.marks import study_marks
from tune.config.space import Value, flat
from tune.config.study_file import StudyFile
from tune.config.urls import resolve
from tune.study.environment import environment
from tune.study.folders import trial_folder
from tune.study.locate import place_of
from tune.study.search_study import SearchStudy, TrialRequest
from tune.study.view import TrialView
from tune.tracking.courier import Delivery
from tune.tracking.lineage import Lineage, dataset_input
from tune.tracking.spool import STUDY_RUN
from tune.tracking.tracker import Tracker, warn_of

CLOSE_SECONDS = 30.0
"""How long the end of a launch waits for the tracking server."""
STRUGGLING_SHARE = 0.01
"""Part of a launch that its end waits longer, at most, for a server that is down or slow."""
HASH_TAG = "refkd.sha256"
"""Tag of a student's model: the hash of its weights, by which a version is found again."""
MARKS_TAG = "refkd.marks"
"""Tag of runs and models: why they are not to be taken at their names."""
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
"""MLflow's word for each way in which a trial ends."""
_NOT_PARAMETERS = {"history", "metrics", "sha256", "dataset", "epoch"}


def tracking_uri(file: StudyFile) -> str | None:
    """Return where the record is kept; None where tracking is switched off."""
    if not file.tracking.enabled:
        return None
    return place_of(file).tracking


def experiment_name(file: StudyFile) -> str:
    """Return the experiment of a study."""
    return file.tracking.experiment or f"refkd/{file.name}"


def artifact_root(file: StudyFile) -> Path | None:
    """Return where artefacts of a store without a server lie."""
    uri = tracking_uri(file)
    local = uri is not None and not resolve(uri).startswith(("http://", "https://"))
    return file.workspace.absolute() / "mlartifacts" if local else None


def spool_folder(file: StudyFile) -> Path:
    """Return where events wait for the tracking server."""
    return file.folder / "spool"


class Record:
    """Listens to a launch and passes on what people should see later.

    Nothing here waits for the server: events go to a spool on disk and are sent by a thread.
    What an earlier launch stored in the study but was killed before it told is told first.
    """

    def __init__(self, file: StudyFile, *, spool: Path | None = None) -> None:
        """`spool` is another folder than the study's own."""
        self._file = file
        self._study: SearchStudy | None = None
        self._tags: dict[str, str] = {}
        self._dataset: Dataset | None = None
        self._lineage: Lineage | None = None
        self._spool = spool or spool_folder(file)
        self._begun = time.monotonic()
        self.delivery = Delivery()
        """What had not reached MLflow at the end."""
        self._tracker = Tracker(
            tracking_uri(file),
            experiment_name(file),
            self._spool,
            study=file.name,
            artifact_root=artifact_root(file),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._study is not None:
            done = kind is None and self._study.left() == 0
            self._tracker.run_ended(STUDY_RUN, "FINISHED" if done else "KILLED", {}, {})
        struggling = STRUGGLING_SHARE * (time.monotonic() - self._begun)
        self.delivery = self._tracker.close(CLOSE_SECONDS, struggling=struggling)
        warn_of(self.delivery, self._spool)

    def study_started(self, study: SearchStudy, dataset: Dataset) -> None:
        """Describe the study: its file, its dataset and the environment."""
        self._study, self._dataset = study, dataset
        self._tags = {
            "refkd.study_name": self._file.name,
            "refkd.dataset": dataset.name,
            "refkd.dataset_fingerprint": dataset.fingerprint,
            "refkd.seed": str(self._file.seed),
            **marks_tag(self._file),
            **environment().tags(),
        }
        path = self._file.folder / "study.yaml"
        settings = self._file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        with replaced(path) as temporary:
            temporary.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        manifest = dataset.path / "manifest.json"
        launched = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._tracker.study_started(
            as_text(flat(settings)), {**self._tags, "refkd.launched": launched}, [path, manifest]
        )
        self._tracker.inputs(STUDY_RUN, [dataset_input(dataset)])

    def teachers_ready(self, teachers: Mapping[str, Teacher]) -> None:
        """Write each teacher's run with its weights, config and scores, once.

        Not before it is frozen, whichever launch trained it.
        """
        assert self._dataset is not None
        for role, teacher in teachers.items():
            if not self._tracker.has_ended(f"teacher/{role}"):
                self._write_teacher(role, teacher, self._dataset)
        self._descend(Lineage(self._dataset, teachers, self._knowledge))
        for view in self._views():
            self._catch_up(view)

    def trial_started(self, ask: TrialRequest) -> None:
        """Open the trial's run, or go on with it."""
        self._begin_trial(ask.number, ask.values, ask.attempt, ask.continues)

    def epoch_ended(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch."""
        self._tracker.epoch(trial_key(number), epoch, metrics)

    def trial_ended(self, number: int, state: str, reason: str | None) -> None:
        """Close the trial's run with its outcome; `kept/...` are the scores it is judged by."""
        if state == "COMPLETE":
            folder = trial_folder(self._file.folder, number)
            self.student_kept(trial_key(number), f"student-{number:04d}", folder)
        tags = {"refkd.state": state, **({"refkd.reason": reason} if reason else {})}
        view = next((v for v in self._views() if v.number == number), None)
        kept = kept_scores(view.kept) if view and view.state == "COMPLETE" else {}
        at = view.ended if view else None
        self._tracker.run_ended(trial_key(number), STATUS[state], tags, kept, at=at)

    def student_begun(
        self,
        key: str,
        name: str,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        *,
        parent: str = STUDY_RUN,
    ) -> None:
        """Open the run of a student, and say what it is distilled from."""
        self._tracker.run_started(key, name, parameters, {**self._tags, **tags}, parent=parent)
        if self._lineage is not None:
            self._tracker.inputs(key, **self._lineage.inputs())

    def student_kept(self, key: str, name: str, folder: Path) -> None:
        """Keep the student in a folder, if there is one, as a model of its run."""
        if self._dataset is None or not student_is_frozen(folder):
            return
        found = open_student(folder).record
        network = found.config.model_dump(mode="json")
        self._tracker.model(
            key,
            name,
            [folder / WEIGHTS, folder / RECORD],
            model_type="student",
            digest=found.sha256,
            step=found.epoch,
            metrics=validation(found.metrics),
            dataset=dataset_input(self._dataset),
            params=as_text(flat(network)),
            tags={**self._tags, "refkd.role": "student", HASH_TAG: found.sha256},
        )

    @property
    def _knowledge(self) -> str:
        return str(self._file.workspace.absolute() / "knowledge")

    def _descend(self, lineage: Lineage) -> None:
        self._lineage = lineage
        self._tags |= lineage.tags()

    def _views(self) -> list[TrialView]:
        return [] if self._study is None else self._study.views()

    def _begin_trial(
        self, number: int, values: Mapping[str, Value], attempt: int, continues: int | None
    ) -> None:
        tags = {
            "refkd.trial": str(number),
            "refkd.role": "student",
            "refkd.attempt": str(attempt),
            **({} if continues is None else {"refkd.continues": str(continues)}),
        }
        parameters = as_text({**self._file.fixed(), **values})
        self.student_begun(trial_key(number), f"trial-{number:04d}", parameters, tags)

    def _catch_up(self, view: TrialView) -> None:
        """Tell what the study holds of a trial; the tracker leaves out what it was told before."""
        key = trial_key(view.number)
        if view.state not in {*STATUS, "RUNNING"} or self._tracker.has_ended(key):
            return
        if not self._tracker.has_begun(key):
            known = view.attributes
            self._begin_trial(
                view.number, view.values, int(known.get("attempt", 1)), known.get("continues")
            )
        for epoch, metrics in view.curve.items():
            self._tracker.epoch(key, epoch, metrics, at=view.time_of(epoch))
        if view.state in STATUS:
            self.trial_ended(view.number, view.state, view.reason)

    def _write_teacher(self, role: str, teacher: Teacher, dataset: Dataset) -> None:
        key, name = f"teacher/{role}", f"teacher-{role}"
        parameters = as_text(flat(teacher.record.model_dump(mode="json", exclude=_NOT_PARAMETERS)))
        tags = {**self._tags, "refkd.role": name, "refkd.digest": teacher.digest}
        took = [past["metrics"].get("cost/wall_seconds", 0.0) for past in teacher.record.history]
        ended = (teacher.folder / "teacher.json").stat().st_mtime
        began = ended - max(took, default=0.0)
        self._tracker.run_started(key, name, parameters, tags, at=began)
        self._tracker.inputs(key, [dataset_input(dataset)])
        for past, seconds in zip(teacher.record.history, took, strict=True):
            self._tracker.epoch(key, past["epoch"], past["metrics"], at=began + seconds)
        paths = [teacher.folder / file for file in ("weights.safetensors", "teacher.json")]
        for path in paths:
            self._tracker.artifact(key, path, "teacher")
        self._tracker.model(
            key,
            name,
            paths,
            model_type="teacher",
            digest=teacher.digest,
            step=teacher.record.epoch,
            metrics=validation(teacher.record.metrics),
            dataset=dataset_input(dataset),
            params=parameters,
            tags=tags,
        )
        kept = kept_scores(teacher.record.metrics)
        self._tracker.run_ended(
            key, "FINISHED", {"refkd.kept_epoch": str(teacher.record.epoch)}, kept, at=ended
        )


def marks_tag(file: StudyFile) -> dict[str, str]:
    """Return the tag that warns of leakage and reconstructions; nothing where there are none."""
    marks = study_marks(file)
    return {MARKS_TAG: "; ".join(marks)} if marks else {}


def trial_key(number: int) -> str:
    """Return the key under which a trial's run is found again."""
    return f"trial/{number:04d}"


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as MLflow keeps parameters."""
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}


def kept_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the validation scores of the weights that were kept, under names of their own."""
    return {f"kept/{name}": value for name, value in validation(metrics).items()}


def validation(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of the validation roles."""
    return {name: value for name, value in metrics.items() if name.startswith("val_")}
