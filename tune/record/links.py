"""Lineage in MLflow: what went into a run, what came out of it, and how good that is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Run,
)

CONTEXT, NOTE = "mlflow.data.context", "mlflow.note.content"


def link_inputs(
    client: MlflowClient, run_id: str, datasets: Iterable[Mapping[str, str]], models: Iterable[str]
) -> None:
    """Say which datasets and logged models went into a run; MLflow takes a model but once."""
    inputs = client.get_run(run_id).inputs
    held = {one.model_id for one in inputs.model_inputs} if inputs else set()
    models = list(models)
    client.log_inputs(
        run_id,
        datasets=[_dataset(one) for one in datasets],
        models=[LoggedModelInput(model_id) for model_id in models if model_id not in held],
    )
    run = client.get_run(run_id)
    if models and NOTE not in run.data.tags:
        client.set_tag(run_id, NOTE, _note(client, run))


def link_output(
    client: MlflowClient,
    run_id: str,
    model_id: str,
    step: int,
    metrics: Mapping[str, float],
    dataset: Mapping[str, str],
) -> None:
    """Say that a run made a model at a step, and how good it is on a dataset.

    The scores are those that the run holds of the step already, with their time, so no second row
    of them is made: where an epoch was refused, the model has no scores until it is told again.
    """
    run = client.get_run(run_id)
    outputs = run.outputs
    if (
        run.inputs
        and run.inputs.model_inputs
        and NOTE not in client.get_logged_model(model_id).tags
    ):
        client.set_logged_model_tags(model_id, {NOTE: _note(client, run)})
    if model_id not in {one.model_id for one in (outputs.model_outputs if outputs else [])}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
    scored = {f"dataset_{part}": dataset[part] for part in ("name", "digest")}
    stamps = {name: _stamp(client, run_id, name, step) for name in metrics}
    client.log_batch(
        run_id,
        metrics=[
            Metric(name, metrics[name], stamp, step, model_id=model_id, **scored)
            for name, stamp in stamps.items()
            if stamp is not None
        ],
    )


def _note(client: MlflowClient, run: Run) -> str:
    """Describe a student by what it was made of, with links to the pages of both teachers."""
    inputs = run.inputs
    assert inputs is not None
    models = [client.get_logged_model(one.model_id) for one in inputs.model_inputs]
    teachers = [
        f"[{m.name}](#/experiments/{m.experiment_id}/models/{m.model_id})"
        for m in sorted(models, key=lambda model: str(model.name))
    ]
    datasets = sorted((d.dataset.name, d.dataset.digest) for d in inputs.dataset_inputs)
    return (
        f"Distilled from {' and '.join(teachers)}. Made of "
        f"{', '.join(f'{name} `{digest}`' for name, digest in datasets)}. The metrics `kept/...` "
        "are the validation scores of the epoch that was kept."
    )


def _stamp(client: MlflowClient, run_id: str, name: str, step: int) -> int | None:
    """Return when a run's metric of a step was measured."""
    history = client.get_metric_history(run_id, name)
    return next((int(point.timestamp) for point in history if point.step == step), None)


def _dataset(facts: Mapping[str, str]) -> DatasetInput:
    return DatasetInput(
        Dataset(
            name=facts["name"],
            digest=facts["digest"],
            source_type="local",
            source=json.dumps({"uri": facts["source"]}),
            profile=facts["profile"],
        ),
        [InputTag(CONTEXT, facts["context"])],
    )
