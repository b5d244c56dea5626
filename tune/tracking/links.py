"""Lineage in MLflow: what went into a run, what came out of it, and how good that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Run,
)

from tune import compat

CONTEXT, NOTE = "mlflow.data.context", "mlflow.note.content"


def link_inputs(
    client: MlflowClient,
    run_id: str,
    run: Run | None,
    datasets: Sequence[Mapping[str, str]],
    models: Sequence[LoggedModel],
) -> None:
    """Say which datasets and logged models went into a run; MLflow takes a model but once.

    `run` is what the run holds already, None for a new one.
    """
    held = {one.model_id for one in run.inputs.model_inputs} if run and run.inputs else set()
    client.log_inputs(
        run_id,
        datasets=[_dataset(one) for one in datasets],
        models=[LoggedModelInput(m.model_id) for m in models if m.model_id not in held],
    )
    if models and (run is None or NOTE not in run.data.tags):
        client.set_tag(run_id, NOTE, _note(datasets, models))


def link_output(
    client: MlflowClient,
    run: Run,
    model_id: str,
    step: int,
    metrics: Mapping[str, float],
    dataset: Mapping[str, str],
    *,
    at: int,
) -> None:
    """Say that a run made a model at a step, and how good it is on a dataset.

    `at` is when the run's scores of that step were told, in milliseconds since 1970: with their
    time the model's scores are theirs, and no second row of them is made.
    """
    outputs = run.outputs.model_outputs if run.outputs else []
    if model_id not in {one.model_id for one in outputs}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, step)])
    scored = {f"dataset_{part}": dataset[part] for part in ("name", "digest")}
    client.log_batch(
        run.info.run_id,
        metrics=[
            Metric(name, value, at, step, model_id=model_id, **scored)
            for name, value in metrics.items()
        ],
    )


def note_of(run: Run) -> dict[str, str]:
    """Return the description of what a run makes, as a tag; none where the run has none."""
    return {NOTE: run.data.tags[NOTE]} if NOTE in run.data.tags else {}


def _note(datasets: Sequence[Mapping[str, str]], models: Sequence[LoggedModel]) -> str:
    """Describe a student by what it was made of, with links to the pages of both teachers."""
    teachers = [
        f"[{m.name}](#/{compat.model_page(m.experiment_id, m.model_id)})"
        for m in sorted(models, key=lambda model: str(model.name))
    ]
    made_of = sorted((one["name"], one["digest"]) for one in datasets)
    return (
        f"Distilled from {' and '.join(teachers)}. Made of "
        f"{', '.join(f'{name} `{digest}`' for name, digest in made_of)}. The metrics `kept/...` "
        "are the validation scores of the epoch that was kept."
    )


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
