"""From a student to its knowledge, its teachers and its dataset in MLflow, and back again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from support.recording import SECONDS, by_name, rows, tracker
from support.small_study import EPOCHS, SmallStudy, make_study, metrics

from refkd.data.dataset import Dataset
from tune.tracking.delivery import Delivered
from tune.tracking.sync import sync
from tune.tracking.target import experiment_name

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own imports, which nothing here can mend.
    "ignore::DeprecationWarning:mlflow.*",
    "ignore::FutureWarning:mlflow.*",
)


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str) -> SmallStudy:
    """Two teachers and three trials, of which one is complete, as a launch tells of them."""
    return make_study(tmp_path, tiny_dataset, tracking=mlflow_store)


def models(store: str, asked: str = "", **filters: object) -> dict[str, LoggedModel]:
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("refkd/quick")
    assert experiment is not None
    found = client.search_logged_models([experiment.experiment_id], asked, **filters)  # type: ignore[arg-type]
    named = {model.name: model for model in found}
    assert len(named) == len(found), "two models bear one name"
    return named


def test_teachers_and_kept_students_are_models_with_their_scores(
    study: SmallStudy, mlflow_store: str
) -> None:
    found = models(mlflow_store)
    assert set(found) == {"teacher-id", "teacher-ood", "student-0000"}
    runs = by_name(mlflow_store, experiment_name(study.file))
    made_by = {"teacher-id": "teacher-id", "student-0000": "trial-0000"}
    for name, run_name in made_by.items():
        model, run = found[name], runs[run_name]
        step = EPOCHS if name == "student-0000" else 1
        expected = metrics(0, step)
        assert str(model.status) == "READY"
        assert model.source_run_id == run.info.run_id
        assert {m.key: (m.value, m.step) for m in model.metrics or []} == {
            key: (value, step) for key, value in expected.items()
        }
        (output,) = run.outputs.model_outputs
        assert (output.model_id, output.step) == (model.model_id, step)
    # The scores of the model are those of its epoch: no second row of them is made.
    trial = runs["trial-0000"]
    steps = [(e, metrics(0, e)["val_id/miou"]) for e in range(1, EPOCHS + 1)]
    assert rows(mlflow_store, trial) == steps
    for name in ("trial-0001", "trial-0002"):
        assert not runs[name].outputs or not runs[name].outputs.model_outputs


def test_a_run_names_its_dataset_its_knowledge_and_its_teachers(
    study: SmallStudy, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    found = models(mlflow_store)
    runs = by_name(mlflow_store, experiment_name(study.file))
    for name in ("quick", "teacher-id", "teacher-ood"):
        assert [d.name for d in datasets(runs[name])] == [tiny_dataset.name]
    teachers = {found[f"teacher-{role}"].model_id for role in ("id", "ood")}
    for name in ("trial-0000", "trial-0001", "trial-0002"):
        run = MlflowClient(mlflow_store).get_run(runs[name].info.run_id)  # a search lacks models
        held = {dataset.name: dataset for dataset in datasets(run)}
        assert set(held) == {tiny_dataset.name, "knowledge-id", "knowledge-ood"}
        assert {one.model_id for one in run.inputs.model_inputs} == teachers
        note = run.data.tags["mlflow.note.content"]
        assert all(f"/models/{teacher})" in note for teacher in teachers)
        for role in ("id", "ood"):
            knowledge = json.loads(held[f"knowledge-{role}"].profile)
            assert knowledge["teacher"] == found[f"teacher-{role}"].tags["refkd.digest"]
            assert knowledge["dataset"] == tiny_dataset.fingerprint
            place = study.file.workspace.absolute() / "knowledge"
            assert str(place) in held[f"knowledge-{role}"].source


def datasets(run: Run) -> list[object]:
    return [one.dataset for one in run.inputs.dataset_inputs]


def test_search_goes_from_a_student_to_its_teachers_and_back(
    study: SmallStudy, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    student = models(mlflow_store)["student-0000"]
    for role in ("id", "ood"):
        digest = student.tags[f"refkd.teacher_{role}"]
        up = models(mlflow_store, f"tags.`refkd.digest` = '{digest}'")
        assert set(up) == {f"teacher-{role}"}
        down = models(mlflow_store, f"tags.`refkd.teacher_{role}` = '{digest}'")
        assert set(down) == {"student-0000"}
        knowledge = student.tags[f"refkd.knowledge_{role}"]
        taught = models(mlflow_store, f"tags.`refkd.knowledge_{role}` = '{knowledge}'")
        assert set(taught) == {"student-0000"}
    on = {"dataset_name": tiny_dataset.name, "dataset_digest": tiny_dataset.fingerprint[:36]}
    asked = "metrics.`val_ood/miou` >= 0"
    assert set(models(mlflow_store, asked, datasets=[on])) == set(models(mlflow_store))
    assert not models(mlflow_store, asked, datasets=[{**on, "dataset_digest": "another"}])


def test_telling_everything_again_changes_nothing(study: SmallStudy, mlflow_store: str) -> None:
    def state() -> object:
        runs = by_name(mlflow_store, experiment_name(study.file))
        return (
            {name: m.to_dictionary() for name, m in sorted(models(mlflow_store).items())},
            {name: run.to_dictionary() for name, run in sorted(runs.items())},
            rows(mlflow_store, runs["trial-0000"]),
        )

    def timeless(value: object) -> object:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "timestamp" not in k}
        return [timeless(v) for v in value] if isinstance(value, list | tuple) else value

    before = timeless(state())
    told = sync(study.path, everything=True)
    assert (told.left, told.refused) == (0, 0)
    assert timeless(state()) == before


def test_a_model_of_a_later_launch_has_the_scores_of_its_epoch_and_adds_no_row(
    mlflow_store: str, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    scores = {"val_id/miou": 31.0, "val_ood/miou": 22.0}
    told = tracker(mlflow_store, tmp_path)
    told.epoch("trial/0000", 2, scores)
    assert told.close(SECONDS) == Delivered()
    again = tracker(mlflow_store, tmp_path)
    again.epoch("trial/0000", 2, scores)
    again.model(
        "trial/0000",
        "student-0000",
        weights,
        model_type="student",
        sha256="abc",
        epoch=2,
        metrics=scores,
        params={},
        tags={},
    )
    assert again.close(SECONDS) == Delivered()
    kept = models(mlflow_store)["student-0000"].metrics or []
    assert {one.key: (one.value, one.step) for one in kept} == {
        name: (value, 2) for name, value in scores.items()
    }
    run = by_name(mlflow_store)["trial/0000"]
    assert rows(mlflow_store, run, "val_ood/miou") == [(2, 22.0)]
