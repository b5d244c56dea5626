"""What MLflow holds of the finalists: nested runs, each told once, and the aliases."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.ended_study import EPOCHS, FakeTrainer, end_study

from refkd.data.dataset import Dataset
from tune import finalists
from tune.audit.examine import examine
from tune.execution.jobs import InterruptedSearchError
from tune.tracking.record import Record
from tune.tracking.store import RUN_TAG
from tune.tracking.sync import sync
from tune.tracking.target import registered_name

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
SCORES = {
    0: [(40.0, 10.0), (20.0, 10.0)],
    1: [(32.0, 20.0), (30.0, 20.0)],
    2: [(10.0, 35.0), (12.0, 31.0)],
}


@pytest.fixture
def fake(tiny_dataset: Dataset) -> FakeTrainer:
    return FakeTrainer(tiny_dataset, SCORES)


def test_mlflow_holds_a_nested_run_a_student_and_the_aliases(
    tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str, fake: FakeTrainer
) -> None:
    study = end_study(tmp_path, tiny_dataset, tracking={"uri": mlflow_store})
    for _ in range(2):
        found = finalists(study.path, top=1, seeds=2, train=fake)
    client = MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("refkd/ended")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if r.data.tags["refkd.role"] == "study"]
    assert parent.info.status == "FINISHED"
    nested = {r.info.run_name: r for r in runs if r.data.tags["refkd.role"] == "finalist"}
    assert sorted(nested) == sorted(f"finalist-{n:04d}-seed-{s}" for n in range(3) for s in (0, 1))
    trials = {r.info.run_name: r for r in runs if r.data.tags["refkd.role"] == "student"}
    for one in nested.values():
        assert one.info.status == "FINISHED"
        trial = trials[f"trial-{one.data.tags['refkd.finalist_of']:0>4}"]
        assert one.data.tags["mlflow.parentRunId"] == trial.info.run_id
        assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
        history = client.get_metric_history(one.info.run_id, "val_id/miou")
        assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))
    assert nested["finalist-0002-seed-0"].data.metrics["kept/val_ood/miou"] == 35.0
    assert nested["finalist-0002-seed-0"].data.params["seed"] == str(found.seeds[0])
    model = client.get_registered_model(registered_name("ended"))
    assert set(model.aliases) == {"best-id", "best-ood", "best-balanced"}
    best = client.get_model_version_by_alias(model.name, "best-ood")
    assert best.tags["refkd.trial"] == "2"
    # The version is the model that the student's own run kept, with its teachers.
    models = client.search_logged_models([experiment.experiment_id])
    (source,) = [model for model in models if best.source == f"models:/{model.model_id}"]
    assert source.name == "student-0002-seed-0"
    assert source.source_run_id == nested["finalist-0002-seed-0"].info.run_id
    teachers = {m.tags["refkd.digest"] for m in models if m.model_type == "teacher"}
    assert {best.tags[f"refkd.teacher_{role}"] for role in ("id", "ood")} == teachers


def test_a_result_that_was_stored_and_not_told_is_told_by_the_next_call(
    tmp_path: Path,
    tiny_dataset: Dataset,
    mlflow_store: str,
    fake: FakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = end_study(tmp_path, tiny_dataset, tracking={"uri": mlflow_store})

    def stop(_: Record) -> None:
        """Stop the call once the first result is stored, before anybody reads it."""
        if "finalist:0000:0" in study.attributes():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Record, "wake", stop)
        patch.setattr("tune.tracking.record.CLOSE_SECONDS", 0.0)
        with pytest.raises(InterruptedSearchError, match="stopped at once"):
            finalists(study.path, top=1, seeds=1, train=fake)
    assert "finalist:0000:0" in study.attributes()
    finalists(study.path, top=1, seeds=1, train=fake)
    assert fake.trained == [f"finalist/{number:04d}/seed-0" for number in range(3)]
    client = MlflowClient(mlflow_store)
    (told,) = client.search_runs(["1"], "attributes.run_name = 'finalist-0000-seed-0'")
    assert told.info.status == "FINISHED"
    assert told.data.metrics["kept/val_id/miou"] == 40.0


def test_a_student_that_fails_says_so_in_its_run(
    tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str, fake: FakeTrainer
) -> None:
    study = end_study(tmp_path, tiny_dataset, tracking={"uri": mlflow_store})
    fake.failing = {"finalist/0000/seed-0"}
    finalists(study.path, top=1, seeds=1, train=fake)
    found = MlflowClient(mlflow_store).search_runs(["1"], "tags.`refkd.role` = 'finalist'")
    told = {r.info.run_name: (r.info.status, r.data.tags["refkd.state"]) for r in found}
    assert told["finalist-0000-seed-0"] == ("FAILED", "FAIL")
    assert told["finalist-0001-seed-0"] == ("FINISHED", "COMPLETE")
    assert len(told) == len(found)


def test_the_doctor_mends_the_run_of_a_finalist(
    tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str, fake: FakeTrainer
) -> None:
    study = end_study(tmp_path, tiny_dataset, tracking={"uri": mlflow_store})
    finalists(study.path, top=1, seeds=1, train=fake)
    assert sync(study.path).left == 0  # what a slow machine could not send in time
    assert examine(study.path).findings == []
    client = MlflowClient(mlflow_store)
    asked = "attributes.run_name = 'finalist-0002-seed-0'"
    (run,) = client.search_runs(["1"], asked)
    client.set_tag(run.info.run_id, RUN_TAG, "gone")
    client.delete_run(run.info.run_id)
    (row,) = examine(study.path).findings
    assert (row.check, row.fixable) == ("steps", True)
    assert row.what == "finalist 2, seed 0 has no run in MLflow"
    assert examine(study.path, fix=True).findings == []
    (again,) = client.search_runs(["1"], asked)
    assert (again.data.metrics, again.info.status) == (run.data.metrics, "FINISHED")
