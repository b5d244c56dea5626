"""Writing operations, which may all be repeated, to a tracking server; imports MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from mlflow import entities
from mlflow.exceptions import MlflowException

from tune import compat
from tune.tracking import operations as op
from tune.tracking.store import RUN_TAG, Store
from tune.tracking.target import Target

PARENT_TAG, CONTEXT_TAG = "mlflow.parentRunId", "mlflow.data.context"
_FINAL = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}
_OF_DATABASE = re.compile(
    r"^(?:BAD_REQUEST: )?"
    r"\((?![\w.]*(?:IntegrityError|DataError|Violation|Truncation|OutOfRange)\))[\w.]+\)"
)
"""Begins what MLflow calls a bad request, but is a trouble of its database, which may pass."""
_PASSING = re.compile(
    "database is locked|disk is full|disk full|no space left|quota exceeded|read-?only|timed out|"
    "rate limit|too many (?:connections|clients|requests)",
    re.I,
)
"""What a server says, also with a code that sounds final, of a trouble that may pass."""


class Writer:
    """Writes the operations of one study to one experiment; no other writer is at work."""

    def __init__(self, target: Target) -> None:
        self._store = Store.open(target)
        self._client = self._store.client
        self._runs: dict[str, str] = {}
        self._models: dict[str, entities.LoggedModel] = {}
        self._doubtful: set[str] = set()
        """Runs whose creation seemed to fail: the server may create them later."""
        self._held: dict[str, dict[int, int]] = {}
        """The epochs that a run holds, with their times."""
        self._before: set[str] | None = None
        """Keys of the runs that were there at first."""
        self.experiment = self._store.made
        """Which experiment it is: another one lacks what was sent before."""

    def send(self, *operations: op.Operation) -> None:
        """Write an operation, or epochs and end of a run; `RefusedError` is final."""
        try:
            match operations[0]:
                case op.BeginRun() as begin:
                    self._begin(begin)
                case op.KeepFile() as file:
                    path = _existing(file.path)
                    self._client.log_artifact(self._run(file.run), str(path), file.folder)
                case op.KeepSettings() as settings:
                    values = dict(settings.values)
                    self._client.log_dict(self._run(settings.run), values, op.SETTINGS)
                case op.KeepView() as view:
                    name = f"{compat.SHARED_VIEW}{view.name}"
                    self._client.set_experiment_tag(self._store.experiment, name, view.content)
                case op.KeepModel() as model:
                    self._model(model)
                case _:
                    self._epochs(operations)
        except MlflowException as error:
            if is_final(error):
                raise op.RefusedError(str(error)) from error
            raise

    def answers(self) -> bool:
        """Return whether the server answers at all; raises what the client raises otherwise."""
        return self._client.get_experiment(self._store.experiment) is not None

    def _begin(self, begin: op.BeginRun) -> None:
        """Create a run or find it again; a parameter that changed since becomes a tag."""
        run = self._client.get_run(self._run(begin.run, begin))
        if run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
        held, now = run.data.params, begin.params.items()
        changed = {f"refkd.now.{k}": v for k, v in now if held.get(k, v) != v}
        self._client.log_batch(
            run.info.run_id,
            params=[entities.Param(k, v) for k, v in now if k not in held],
            tags=[entities.RunTag(k, v) for k, v in {**begin.tags, **changed}.items()],
        )
        if begin.datasets or begin.models:
            self._inputs(begin, run)

    def _epochs(self, operations: Sequence[op.Operation]) -> None:
        """Log epochs, and close the run where its end comes last: a closed run is complete."""
        end = operations[-1] if isinstance(operations[-1], op.EndRun) else None
        key = operations[0].run
        if end is not None and key in self._doubtful:
            self._runs.pop(key, None)
            self._held.pop(key, None)
            self._run(key)
            self._doubtful.discard(key)
        run_id = self._run(key)
        epochs = [one for one in operations if isinstance(one, op.LogEpoch)]
        held = self._epochs_of(key, epochs)
        lacking = [one for one in epochs if one.epoch not in held]
        metrics = [
            entities.Metric(name, value, one.time, one.epoch)
            for one in lacking
            for name, value in one.metrics.items()
        ]
        tags = []
        if end is not None:
            metrics += [entities.Metric(k, v, end.time, 0) for k, v in end.metrics.items()]
            tags = [entities.RunTag(k, v) for k, v in end.tags.items()]
        self._client.log_batch(run_id, metrics=metrics, tags=tags)
        held |= {one.epoch: one.time for one in lacking}
        if end is not None:
            self._client.set_terminated(run_id, status=end.status, end_time=end.time)

    def _epochs_of(self, key: str, asked: Sequence[op.LogEpoch | op.KeepModel]) -> dict[int, int]:
        """Return the epochs that a run holds, with their times, by one of their metrics."""
        names = sorted({name for one in asked for name in one.metrics})
        if key not in self._held and names:
            known = self._client.get_metric_history(self._run(key), names[0])
            self._held[key] = {point.step: point.timestamp for point in known}
        return self._held.get(key, {})

    def _inputs(self, inputs: op.BeginRun, run: entities.Run) -> None:
        """Link a run to its datasets and, once, to those of its models that the store holds."""
        for digest in set(inputs.models) - set(self._models):
            if model := self._store.model(digest):
                self._models[digest] = model
        models = [self._models[digest] for digest in inputs.models if digest in self._models]
        held = {one.model_id for one in run.inputs.model_inputs} if run.inputs else set()
        self._client.log_inputs(
            run.info.run_id,
            datasets=[
                entities.DatasetInput(
                    entities.Dataset(
                        name=one["name"],
                        digest=one["digest"],
                        source_type="local",
                        source=json.dumps({"uri": one["source"]}),
                        profile=one["profile"],
                    ),
                    [entities.InputTag(CONTEXT_TAG, one["context"])],
                )
                for one in inputs.datasets
            ],
            models=[
                entities.LoggedModelInput(m.model_id) for m in models if m.model_id not in held
            ],
        )
        if models and op.NOTE_TAG not in run.data.tags:
            self._client.set_tag(run.info.run_id, op.NOTE_TAG, _note(inputs, models))

    def _model(self, made: op.KeepModel) -> None:
        """Store the network of a run as a logged model, its scores at the time of their epoch."""
        paths = [_existing(path) for path in made.paths]

        def fill(model_id: str) -> None:
            for path in paths:
                self._client.log_model_artifact(model_id, str(path))

        run = self._client.get_run(self._run(made.run))
        note = {name: text for name, text in run.data.tags.items() if name == op.NOTE_TAG}
        model = self._store.keep_model(
            made.sha256,
            fill,
            source_run_id=run.info.run_id,
            tags={**made.tags, **note},
            name=made.name,
            model_type=made.model_type,
            params=dict(made.params),
        )
        outputs = run.outputs.model_outputs if run.outputs else []
        if model.model_id not in {one.model_id for one in outputs}:
            output = entities.LoggedModelOutput(model.model_id, made.epoch)
            self._client.log_outputs(run.info.run_id, [output])
        at = made.time
        if made.epoch:
            at = self._epochs_of(made.run, [made]).get(made.epoch, at)
        scored = {f"dataset_{part}": made.dataset[part] for part in ("name", "digest")}
        metrics = [
            entities.Metric(name, value, at, made.epoch, model_id=model.model_id, **scored)
            for name, value in made.metrics.items()
        ]
        self._client.log_batch(run.info.run_id, metrics=metrics)

    def _run(self, key: str, begin: op.BeginRun | None = None) -> str:
        """Return the id of the run with a key: remembered, found by its tag, or created."""
        if key not in self._runs:
            tags = {} if begin is None else dict(begin.tags)
            tags[RUN_TAG] = f"{self._store.target.owner}/{key}"
            if key != op.STUDY_RUN:
                tags[PARENT_TAG] = self._run(op.STUDY_RUN if begin is None else begin.parent)
            if self._before is None:
                self._before = set(self._store.runs(entities.ViewType.ALL))
            may_be_there = key in self._before or key in self._doubtful
            run = self._store.run(key) if may_be_there else None
            if run is None:
                known = key in self._doubtful
                self._doubtful.add(key)
                run = self._client.create_run(
                    self._store.experiment,
                    start_time=None if begin is None else begin.time,
                    tags=tags,
                    run_name=key if begin is None else begin.name,
                )
                if not known:
                    self._doubtful.discard(key)
                self._held[key] = {}
            self._runs[key] = run.info.run_id
        return self._runs[key]


def is_final(error: MlflowException) -> bool:
    """Return whether a server will never take what it has answered with an error.

    >>> is_final(MlflowException.invalid_parameter_value("a metric's name holds '='"))
    True
    >>> is_final(MlflowException("(sqlite3.OperationalError) database or disk is full"))
    False
    """
    said = str(error)
    passing = _PASSING.search(said) or _OF_DATABASE.search(said)
    return error.error_code in _FINAL and passing is None


def _note(inputs: op.BeginRun, models: Sequence[entities.LoggedModel]) -> str:
    """Describe a student by what it was made of, with links to the pages of both teachers."""
    teachers = [
        f"[{m.name}](#/{compat.model_page(m.experiment_id, m.model_id)})"
        for m in sorted(models, key=lambda model: str(model.name))
    ]
    made_of = sorted((one["name"], one["digest"]) for one in inputs.datasets)
    return (
        f"Distilled from {' and '.join(teachers)}. Made of "
        f"{', '.join(f'{name} `{digest}`' for name, digest in made_of)}. The metrics `kept/...` "
        "are the validation scores of the epoch that was kept."
    )


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise op.RefusedError(f"{path}: no such file; it was gone before it could be sent")
    return Path(path)
