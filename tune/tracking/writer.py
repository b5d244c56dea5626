"""Bringing a server to what should stand in MLflow; imports MLflow: import it off the main path.

Every call may be repeated: runs and models are found again by a tag, an epoch that a run holds is
left as it is, and tags, parameters and states come out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import (
    Experiment,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException

from tune.config.urls import resolve
from tune.tracking.links import link_inputs, link_output, note_of
from tune.tracking.operations import (
    STUDY_RUN,
    BeginRun,
    EndRun,
    KeepFile,
    KeepModel,
    LinkInputs,
    LogEpoch,
    Operation,
    RefusedError,
)

RUN_TAG, MODEL_TAG, PARENT_TAG = "refkd.run", "refkd.model", "mlflow.parentRunId"
EXPERIMENT = {
    "mlflow.note.content": "A search for students of RefKD. The run that bears the study's name "
    "holds its file and its report; below it stand both teachers, every trial, and below a trial "
    "its finalists on fresh seeds. `val_id/...` is in distribution, `val_ood/...` out of it, in "
    "percent by epoch; `kept/...` are those of the epoch that was kept.",
}
"""Tags of a new experiment: its description."""
PAGE = 1000
_FINAL = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}


class Writer:
    """Writes the operations of one study to one experiment.

    `owner` tells the study's runs from all others; `artifact_root` is where files of a new
    experiment lie when no server decides.
    """

    def __init__(
        self, uri: str, experiment: str, *, owner: str, artifact_root: Path | None
    ) -> None:
        self._client = MlflowClient(tracking_uri=resolve(uri))
        self._owner = owner
        self._runs: dict[str, str] = {}
        self._models: dict[str, LoggedModel] = {}
        self._doubtful: set[str] = set()
        self._fresh: set[str] = set()
        """Runs that were created here and hold nothing yet but their tags."""
        self._held: dict[str, dict[int, int]] = {}
        """The epochs that a run holds, with their times."""
        self._before: set[str] | None = None
        self.is_new = self._client.get_experiment_by_name(experiment) is None
        """Whether the experiment was not there: then it lacks what was sent before."""
        self._experiment = open_experiment(self._client, experiment, artifact_root)

    def send(self, *operations: Operation) -> None:
        """Write an operation, or epochs of one run and perhaps its end at once.

        Raises `RefusedError` where no repetition can help, else MLflow's error.
        """
        try:
            match operations[0]:
                case BeginRun() as begin:
                    self._begin(begin)
                case KeepFile() as file:
                    path = _existing(file.path)
                    self._client.log_artifact(self._run(file.run), str(path), file.folder)
                case LinkInputs() as inputs:
                    self._inputs(inputs)
                case KeepModel() as model:
                    self._model(model)
                case _:
                    self._epochs(operations)
        except MlflowException as error:
            if error.error_code in _FINAL:
                raise RefusedError(str(error)) from error
            raise
        except FileNotFoundError as error:
            raise RefusedError(str(error)) from error

    def answers(self) -> bool:
        """Return whether the server answers at all; raises what the client raises otherwise."""
        return self._client.get_experiment(self._experiment) is not None

    def _begin(self, begin: BeginRun) -> None:
        """Open a run or find it again; a parameter that changed since becomes a tag."""
        params, tags = dict(begin.params), dict(begin.tags)
        known = begin.run in self._runs
        run_id = self._run(
            begin.run, name=begin.name, time=begin.time, parent=begin.parent, tags=tags
        )
        if not known and begin.run in self._fresh:
            if params:
                self._client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()])
            return
        run = self._client.get_run(run_id)
        if run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        held = run.data.params
        tags |= {f"refkd.now.{k}": v for k, v in params.items() if held.get(k, v) != v}
        self._client.log_batch(
            run_id,
            params=[Param(k, v) for k, v in params.items() if k not in held],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )

    def _epochs(self, operations: Sequence[Operation]) -> None:
        """Log epochs, and close the run where its end comes last: a closed run is complete."""
        end = operations[-1] if isinstance(operations[-1], EndRun) else None
        key = operations[0].run
        if end is not None and key in self._doubtful:
            # A creation that seemed to fail may have come to be later: look for its run again.
            self._runs.pop(key, None)
            self._held.pop(key, None)
            self._run(key)
            self._doubtful.discard(key)
        run_id = self._run(key)
        epochs = [one for one in operations if isinstance(one, LogEpoch)]
        held = self._epochs_of(key, epochs)
        lacking = [one for one in epochs if one.epoch not in held]
        metrics = [
            Metric(name, value, one.time, one.epoch)
            for one in lacking
            for name, value in one.metrics.items()
        ]
        if end is not None:
            metrics += [Metric(name, value, end.time, 0) for name, value in end.metrics.items()]
        tags = {} if end is None else end.tags
        self._client.log_batch(
            run_id, metrics=metrics, tags=[RunTag(k, v) for k, v in tags.items()]
        )
        held |= {one.epoch: one.time for one in lacking}
        if end is not None:
            self._client.set_terminated(run_id, status=end.status, end_time=end.time)

    def _epochs_of(self, key: str, asked: Sequence[LogEpoch | KeepModel]) -> dict[int, int]:
        """Return the epochs that a run holds already, with their times; all of one go together."""
        names = sorted({name for one in asked for name in one.metrics})
        if key not in self._held and names:
            run_id = self._run(key)
            known = self._client.get_metric_history(run_id, names[0])
            self._held[key] = {point.step: point.timestamp for point in known}
        return self._held.get(key, {})

    def _inputs(self, inputs: LinkInputs) -> None:
        """Say what went into a run; of the models, those that the store holds."""
        found = [self._made(digest) for digest in inputs.models]
        models = [model for model in found if model is not None]
        run_id = self._run(inputs.run)
        run = None if inputs.run in self._fresh else self._client.get_run(run_id)
        self._fresh.discard(inputs.run)
        link_inputs(self._client, run_id, run, inputs.datasets, models)

    def _made(self, digest: str) -> LoggedModel | None:
        if digest not in self._models:
            model = find_model(self._client, self._experiment, f"{self._owner}/{digest}")
            if model is None:
                return None
            self._models[digest] = model
        return self._models[digest]

    def _model(self, made: KeepModel) -> None:
        """Keep what a run made as a logged model, with its scores.

        The scores bear the time of their epoch in the run, so that no second row of them is made.
        """
        paths = [_existing(path) for path in made.paths]

        def fill(model_id: str) -> None:
            for path in paths:
                self._client.log_model_artifact(model_id, str(path))

        run = self._client.get_run(self._run(made.run))
        model_id = keep_model(
            self._client,
            self._experiment,
            f"{self._owner}/{made.sha256}",
            fill,
            source_run_id=run.info.run_id,
            tags={**made.tags, **note_of(run)},
            name=made.name,
            model_type=made.model_type,
            params=dict(made.params),
        )
        at = self._epochs_of(made.run, [made]).get(made.epoch, made.time)
        link_output(self._client, run, model_id, made.epoch, made.metrics, made.dataset, at=at)

    def _run(
        self,
        key: str,
        *,
        name: str | None = None,
        time: int | None = None,
        parent: str = STUDY_RUN,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Return the id of the run with a key: remembered, found by its tag, or created."""
        if key not in self._runs:
            tags = {**(tags or {}), RUN_TAG: f"{self._owner}/{key}"}
            if key != STUDY_RUN:
                tags[PARENT_TAG] = self._run(parent)
            run = self._found(key, tags[RUN_TAG])
            if run is None:
                known = key in self._doubtful
                self._doubtful.add(key)
                run = self._client.create_run(
                    self._experiment, start_time=time, tags=tags, run_name=name or key
                )
                if not known:
                    self._doubtful.discard(key)
                self._fresh.add(key)
                self._held[key] = {}
            self._runs[key] = run.info.run_id
        return self._runs[key]

    def _found(self, key: str, label: str) -> Run | None:
        """Return the run with a label; only what may be there is asked for.

        This writer is the study's only one: what was not there at first, others did not make.
        """
        if self._before is None:
            self._before = run_labels(self._client, self._experiment, self._owner)
        if label not in self._before and key not in self._doubtful:
            return None
        return find_run(self._client, self._experiment, label)


def run_labels(client: MlflowClient, experiment: str, owner: str) -> set[str]:
    """Return the labels of all runs of an owner, also of those that were deleted."""
    asked, found, token = f"tags.`{RUN_TAG}` LIKE '{owner}/%'", set[str](), None
    while True:
        page = client.search_runs(
            [experiment], asked, ViewType.ALL, max_results=PAGE, page_token=token
        )
        found |= {run.data.tags[RUN_TAG] for run in page}
        token = page.token
        if not token:
            return found


def find_run(client: MlflowClient, experiment: str, label: str) -> Run | None:
    """Return the run that bears a label, None where there is none.

    Of several, which a lost answer to a creation can leave behind, the fullest and oldest is
    kept and the others are deleted. A run that was deleted by hand and still goes on is restored.
    """
    runs = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{label}'", ViewType.ALL)
    if not runs:
        return None
    order = [(-len(r.data.metrics), r.info.start_time, r.info.run_id) for r in runs]
    kept = runs[order.index(min(order))]
    for run in runs:
        if run is not kept and run.info.lifecycle_stage == "active":
            client.delete_run(run.info.run_id)
    if kept.info.lifecycle_stage == "deleted":
        client.restore_run(kept.info.run_id)
    return kept


def keep_model(
    client: MlflowClient,
    experiment: str,
    label: str,
    fill: Callable[[str], None],
    *,
    tags: Mapping[str, str],
    **facts: Any,
) -> str:
    """Return the id of the logged model that bears a label; make it, with its files, if needed.

    `fill` is given the id and uploads the files; `facts` are those of `create_logged_model`.
    """
    model = find_model(client, experiment, label) or client.create_logged_model(
        experiment, tags={**tags, MODEL_TAG: label}, **facts
    )
    if model.status != LoggedModelStatus.READY:
        fill(model.model_id)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def find_model(client: MlflowClient, experiment: str, label: str) -> LoggedModel | None:
    """Return the logged model that bears a label, None where there is none."""
    asked = f"tags.`{MODEL_TAG}` = '{label}'"
    found = client.search_logged_models([experiment], filter_string=asked, max_results=1)
    return next(iter(found), None)


def open_experiment(client: MlflowClient, name: str, artifact_root: Path | None) -> str:
    """Return the id of an experiment, which another process may create at the same moment."""
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        location = None if artifact_root is None else artifact_root.absolute().as_uri()
        try:
            made = client.create_experiment(name, artifact_location=location, tags=EXPERIMENT)
            return str(made)
        except MlflowException as error:
            found = client.get_experiment_by_name(name)
            if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; it was gone before it could be sent")
    return Path(path)
