"""The record of a study in MLflow: what each run says, and what a killed launch left untold."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow import MlflowClient
from support.recording import by_name, rows

from refkd import __version__
from refkd.data.dataset import Dataset
from refkd.training.checkpoint import save_tensors
from refkd.training.config import TrainingConfig
from refkd.training.teacher import Teacher, TeacherRecord
from tune.config.study_file import StudyFile
from tune.study.environment import environment
from tune.study.events import TeacherTrained
from tune.study.request import TrialRequest
from tune.study.search_study import SearchStudy
from tune.tracking.operations import SETTINGS
from tune.tracking.record import Record
from tune.tracking.target import experiment_name

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own imports, which nothing here can mend.
    "ignore::DeprecationWarning:mlflow.*",
    "ignore::FutureWarning:mlflow.*",
)
KEY = "distill.kd_temperature"
Launch = Callable[[], SearchStudy]


@pytest.fixture
def file(tmp_path: Path, mlflow_store: str) -> StudyFile:
    return StudyFile.model_validate(
        {
            "name": "quick",
            "dataset": str(tmp_path / "dataset"),
            "workspace": str(tmp_path / "runs"),
            "space": {KEY: {"float": [0.5, 4.0]}},
            "budget": {"trials": 2},
            "training": {"epochs": 3},
            "distill": {"warmup_epochs": 1},
            "pruning": {"name": "none"},
            "tracking": {"uri": mlflow_store},
        }
    )


@pytest.fixture
def launch(file: StudyFile, tmp_path: Path) -> Launch:
    """Open the study as a launch does."""

    def opened() -> SearchStudy:
        study = SearchStudy(file.search_spec(), f"sqlite:///{tmp_path / 'study.db'}")
        study.begin_launch(environment())
        return study

    return opened


def metrics(number: int, epoch: int) -> dict[str, float]:
    return {"val_id/miou": 10.0 * number + epoch, "val_ood/miou": 5.0 * number + epoch}


def ask(study: SearchStudy) -> TrialRequest:
    found = study.ask()
    assert found is not None
    return found


def finish(
    study: SearchStudy, record: Record | None, asked: TrialRequest, *, first: int = 1
) -> None:
    """Train a trial to its end, telling the record where there is one."""
    for epoch in range(first, 4):
        study.record(asked.number, epoch, metrics(asked.number, epoch))
        if record:
            record.wake()
    study.complete(asked.number, metrics(asked.number, 3))
    if record:
        record.wake()


def check(file: StudyFile, store: str) -> None:
    found = by_name(store, experiment_name(file))
    assert set(found) == {"quick", "trial-0000", "trial-0001"}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    for number in range(2):
        run = found[f"trial-{number:04d}"]
        assert rows(store, run) == [(e, metrics(number, e)["val_id/miou"]) for e in (1, 2, 3)]
        assert run.data.metrics["kept/val_ood/miou"] == metrics(number, 3)["val_ood/miou"]
        assert run.data.tags["refkd.state"] == "COMPLETE"
        assert set(run.data.params) == {KEY}


def test_a_launch_is_recorded(
    file: StudyFile, launch: Launch, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    study = launch()
    with Record(file) as record:
        record.study_started(study, tiny_dataset)
        for _ in range(2):
            asked = ask(study)
            record.wake()
            finish(study, record, asked)
    check(file, mlflow_store)
    found = by_name(mlflow_store, experiment_name(file))
    tags = found["trial-0001"].data.tags
    assert tags["refkd.dataset_fingerprint"] == tiny_dataset.fingerprint
    assert tags["refkd.version"] == __version__
    assert {"refkd.version.torch", "refkd.git_commit", "refkd.git_dirty", "refkd.seed"} <= set(
        tags
    )
    shown = {"mlflow.user": getpass.getuser(), "mlflow.source.name": "refkd search"}
    assert shown.items() <= tags.items()
    client = MlflowClient(mlflow_store)
    artifacts = client.list_artifacts(found["quick"].info.run_id)
    assert {artifact.path for artifact in artifacts} == {"study.yaml", "manifest.json"}
    run = found["trial-0001"]
    settings = yaml.safe_load(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{SETTINGS}"))
    assert settings.keys() == {*file.fixed(), KEY}
    assert settings[KEY] == float(run.data.params[KEY])
    best = found["quick"].data.metrics
    scores = [metrics(n, 3) for n in range(2)]
    for name in file.objectives:
        assert best[f"best/{name}"] == max(score[name] for score in scores)
    assert best["trials/complete"] == 2


def test_what_a_killed_launch_left_untold_is_told_by_the_next(
    file: StudyFile, launch: Launch, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    """One trial ended and one was under way in the study, and the record knows of neither end."""
    study = launch()
    with Record(file) as record:
        record.study_started(study, tiny_dataset)
        asked = ask(study)
        record.wake()
    found = by_name(mlflow_store, experiment_name(file))
    assert found["quick"].info.status == "KILLED"
    assert found["trial-0000"].info.status == "RUNNING"
    # From here on nobody reads the study, as if the thread had been killed before it could.
    finish(study, None, asked)
    other = ask(study)
    study.record(other.number, 1, metrics(other.number, 1))

    study = launch()
    with Record(file) as record:
        record.study_started(study, tiny_dataset)
        again = ask(study)
        assert (again.number, again.attempt) == (other.number, 2)
        record.wake()
        # The worker's checkpoint is older than the study: it repeats the epoch.
        finish(study, record, again)
    check(file, mlflow_store)
    found = by_name(mlflow_store, experiment_name(file))
    assert found["trial-0001"].data.tags["refkd.attempt"] == "2"


def test_failed_and_pruned_trials_say_so(
    file: StudyFile, launch: Launch, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    study = launch()
    with Record(file) as record:
        record.study_started(study, tiny_dataset)
        for end in (lambda n: study.fail(n, "loss is not finite"), study.prune):
            asked = ask(study)
            record.wake()
            study.record(asked.number, 1, metrics(asked.number, 1))
            end(asked.number)
            record.wake()
    found = by_name(mlflow_store, experiment_name(file))
    failed, pruned = found["trial-0000"], found["trial-0001"]
    assert (failed.info.status, failed.data.tags["refkd.state"]) == ("FAILED", "FAIL")
    assert failed.data.tags["refkd.reason"] == "loss is not finite"
    assert (pruned.info.status, pruned.data.tags["refkd.state"]) == ("KILLED", "PRUNED")
    assert not [name for name in pruned.data.metrics if name.startswith("kept/")]


def test_a_teacher_is_recorded_once_with_its_model(
    file: StudyFile, launch: Launch, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    (file.workspace / "teachers").mkdir(parents=True)
    teacher = write_teacher(file, tiny_dataset, file.workspace / "teachers" / "one")
    for _ in range(2):
        study = launch()
        study.bind("teachers", {"id": "one"})
        with Record(file) as record:
            record.study_started(study, tiny_dataset)
            study.append(TeacherTrained(role="id", digest=teacher.digest))
            record.wake()
    client = MlflowClient(mlflow_store)
    run = by_name(mlflow_store, experiment_name(file))["teacher-id"]
    assert run.info.status == "FINISHED"
    assert rows(mlflow_store, run) == [(1, 20.0), (2, 30.0)]
    assert run.data.metrics["kept/val_id/miou"] == 30.0
    assert run.data.tags["refkd.digest"] == teacher.digest
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "teacher")}
    assert names == {"teacher/weights.safetensors", "teacher/teacher.json"}
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert (model.model_type, model.source_run_id) == ("teacher", run.info.run_id)


def write_teacher(file: StudyFile, dataset: Dataset, folder: Path) -> Teacher:
    import torch

    folder.mkdir()
    record = TeacherRecord(
        backbone=file.backbone,
        recipe=file.teachers.id.recipe,
        training=TrainingConfig(),
        seed=0,
        dataset=dataset.fingerprint,
        epoch=2,
        metrics={"val_id/miou": 30.0},
        history=[{"epoch": e, "metrics": {"val_id/miou": 10.0 + 10 * e}} for e in (1, 2)],
        sha256=save_tensors(folder / "weights.safetensors", {"w": torch.zeros(2)}),
    )
    (folder / "teacher.json").write_text(record.model_dump_json())
    return Teacher(folder=folder, record=record)


def test_an_outage_is_told_at_the_end(
    file: StudyFile,
    launch: Launch,
    tiny_dataset: Dataset,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tune.tracking.record.CLOSE_SECONDS", 0.2)
    tracking = {"uri": "http://127.0.0.1:9"}  # nobody listens there
    away = StudyFile.model_validate({**file.model_dump(by_alias=True), "tracking": tracking})
    with Record(away) as record:
        record.study_started(launch(), tiny_dataset)
    assert "6 events did not reach MLflow" in caplog.text
    assert "the study keeps them and the next run of the same command sends them" in caplog.text


def test_tracking_that_is_off_writes_nothing(
    file: StudyFile, launch: Launch, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    settings = {**file.model_dump(by_alias=True), "tracking": {"enabled": False}}
    with Record(StudyFile.model_validate(settings)) as record:
        record.study_started(launch(), tiny_dataset)
    assert not (file.folder / "tracking").exists()
    assert MlflowClient(mlflow_store).get_experiment_by_name(experiment_name(file)) is None
