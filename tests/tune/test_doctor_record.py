"""The doctor on a study and its record in a real MLflow store, one thing broken at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from support.small_study import EPOCHS, OUTCOMES, SmallStudy, make_study, metrics

from refkd.data.dataset import Dataset
from tune.audit.examine import Diagnosis, examine
from tune.config.study_file import load_study_file
from tune.study.environment import environment
from tune.tracking.projection import STATUS
from tune.tracking.store import RUN_TAG
from tune.tracking.sync import sync
from tune.tracking.target import REFUSED, Target, target_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
)
EXPERIMENT = "refkd/quick"


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str) -> SmallStudy:
    """A study in SQLite and its record in an SQLite store."""
    return make_study(tmp_path, tiny_dataset, tracking=mlflow_store)


def uri(study: SmallStudy) -> str:
    assert study.file.tracking.uri is not None
    return study.file.tracking.uri.reveal()


def client(study: SmallStudy) -> MlflowClient:
    return MlflowClient(uri(study))


def experiment(study: SmallStudy) -> str:
    found = client(study).get_experiment_by_name(EXPERIMENT)
    assert found is not None
    return str(found.experiment_id)


def target(study: SmallStudy) -> Target:
    found = target_of(study.file, study.open().identity())
    assert found is not None
    return found


def run_of(study: SmallStudy, key: str) -> Run:
    """Return the one active run with a key."""
    label = f"{target(study).owner}/{key}"
    found = client(study).search_runs([experiment(study)], f"tags.`{RUN_TAG}` = '{label}'")
    assert len(found) == 1
    return found[0]


def rows(study: SmallStudy, key: str) -> list[tuple[int, float]]:
    run_id = run_of(study, key).info.run_id
    history = client(study).get_metric_history(run_id, "val_id/miou")
    return sorted((point.step, point.value) for point in history)


def purge(study: SmallStudy, key: str) -> None:
    """Remove a run so that nothing can restore it."""
    run_id = run_of(study, key).info.run_id
    client(study).set_tag(run_id, RUN_TAG, "gone")
    client(study).delete_run(run_id)


def remake(study: SmallStudy, key: str, *, epochs: int, status: str) -> None:
    """Put a run in place of another that knows of fewer epochs."""
    old = run_of(study, key)
    purge(study, key)
    label = old.data.tags[RUN_TAG]
    run = client(study).create_run(experiment(study), tags={RUN_TAG: label}, run_name="again")
    for epoch in range(1, epochs + 1):
        for name, value in metrics(0, epoch).items():
            client(study).log_metric(run.info.run_id, name, value, step=epoch)
    if status != "RUNNING":
        client(study).set_terminated(run.info.run_id, status)


def no_run(study: SmallStudy) -> None:
    purge(study, "trial/0000")


def running_run(study: SmallStudy) -> None:
    client(study).update_run(run_of(study, "trial/0000").info.run_id, status="RUNNING")


def wrong_status(study: SmallStudy) -> None:
    client(study).set_terminated(run_of(study, "trial/0002").info.run_id, "FINISHED")


def fewer_steps(study: SmallStudy) -> None:
    remake(study, "trial/0000", epochs=1, status="FINISHED")


def fewer_steps_running(study: SmallStudy) -> None:
    remake(study, "trial/0000", epochs=2, status="RUNNING")


def two_runs(study: SmallStudy) -> None:
    label = run_of(study, "trial/0001").data.tags[RUN_TAG]
    client(study).create_run(experiment(study), tags={RUN_TAG: label}, run_name="twice")


def running_study(study: SmallStudy) -> None:
    client(study).update_run(run_of(study, "study").info.run_id, status="RUNNING")


def no_teacher_run(study: SmallStudy) -> None:
    purge(study, "teacher/id")


def no_student_model(study: SmallStudy) -> None:
    forget_model(study, "student-0000")


def no_teacher_model(study: SmallStudy) -> None:
    forget_model(study, "teacher-ood")


def no_ancestors(study: SmallStudy) -> None:
    """Put a run in place of trial 1's that is whole but for what it is made of."""
    old = run_of(study, "trial/0001")
    purge(study, "trial/0001")
    kept = {k: v for k, v in old.data.tags.items() if k.startswith("refkd.")}
    run = client(study).create_run(experiment(study), tags=kept, run_name="again")
    for epoch in range(1, OUTCOMES[1][1] + 1):
        for name, value in metrics(1, epoch).items():
            client(study).log_metric(run.info.run_id, name, value, step=epoch)
    client(study).set_terminated(run.info.run_id, old.info.status)


def forget_model(study: SmallStudy, name: str) -> None:
    client(study).delete_logged_model(models(study)[name].model_id)


def models(study: SmallStudy, asked: str = "") -> dict[str, LoggedModel]:
    found = client(study).search_logged_models([experiment(study)], filter_string=asked or None)
    named = {str(model.name): model for model in found}
    assert len(named) == len(found), "two models bear one name"
    return named


def unsent(study: SmallStudy) -> None:
    shutil.rmtree(target(study).folder)


@pytest.mark.parametrize(
    ("damage", "check", "said"),
    [
        (no_run, "steps", "trial 0 has no run"),
        (running_run, "status", "its run in MLflow RUNNING"),
        (wrong_status, "status", "trial 2 is FAIL, its run in MLflow FINISHED"),
        (fewer_steps, "steps", "without the epochs [2, 3]"),
        (fewer_steps_running, "steps", "without the epochs [3]"),
        (two_runs, "duplicate", "trial/0001 has 2 runs"),
        (running_study, "status", "the study's run is RUNNING"),
        (no_teacher_run, "record", "teacher id"),
        (no_student_model, "lineage", "its student is no logged model"),
        (no_teacher_model, "record", "teacher ood has no logged model"),
        (no_ancestors, "lineage", "names no teachers"),
        (unsent, "delivery", "have not reached MLflow"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_record_is_mended_from_the_study(
    study: SmallStudy, damage: Callable[[SmallStudy], None], check: str, said: str
) -> None:
    assert examine(study.path) == Diagnosis(study="quick")
    damage(study)
    told = examine(study.path)
    assert [(row.check, row.fixable) for row in told.findings] == [(check, True)]
    assert said in told.findings[0].what
    mended = examine(study.path, fix=True)
    assert mended.findings == []
    assert [row.check for row in mended.fixed] == [check]
    check_record(study)


def check_record(study: SmallStudy) -> None:
    """Assert that each run is there once, with its status and one row an epoch."""
    assert run_of(study, "study").info.status == "FINISHED"
    assert run_of(study, "teacher/id").info.status == "FINISHED"
    for number, (state, epochs) in OUTCOMES.items():
        run = run_of(study, f"trial/{number:04d}")
        assert run.info.status == STATUS[state]
        assert run.data.tags["refkd.state"] == state
        assert rows(study, f"trial/{number:04d}") == [
            (epoch, metrics(number, epoch)["val_id/miou"]) for epoch in range(1, epochs + 1)
        ]
    check_lineage(study)


def check_lineage(study: SmallStudy) -> None:
    """Assert that every trial names its teachers, and that search goes both ways."""
    found = models(study)
    assert set(found) == {"teacher-id", "teacher-ood", "student-0000"}
    student = found["student-0000"]
    scores = {m.key: (m.value, m.step) for m in student.metrics or []}
    assert scores == {name: (value, EPOCHS) for name, value in metrics(0, EPOCHS).items()}
    teachers = {found[f"teacher-{role}"].model_id for role in ("id", "ood")}
    for number in OUTCOMES:
        run = client(study).get_run(run_of(study, f"trial/{number:04d}").info.run_id)
        # MLflow never takes a link back, not even one to a model that was deleted since.
        assert teachers <= {one.model_id for one in run.inputs.model_inputs}
        outputs = {one.model_id for one in run.outputs.model_outputs} if run.outputs else set()
        assert (student.model_id in outputs) == (number == 0)
    for role in ("id", "ood"):
        digest = student.tags[f"refkd.teacher_{role}"]
        assert set(models(study, f"tags.`refkd.digest` = '{digest}'")) == {f"teacher-{role}"}
        down = models(study, f"tags.`refkd.teacher_{role}` = '{digest}'")
        assert set(down) == {"student-0000"}


@pytest.mark.parametrize("key", ["trial/0000", "trial/0002"])
def test_a_run_made_again_says_what_it_said(study: SmallStudy, key: str) -> None:
    before = run_of(study, key)
    purge(study, key)
    assert examine(study.path, fix=True).findings == []
    after = run_of(study, key)
    assert after.info.run_id != before.info.run_id
    assert after.data.params == before.data.params
    assert after.data.metrics == before.data.metrics
    told = {k: v for k, v in after.data.tags.items() if k.startswith("refkd.")}
    assert told.items() <= before.data.tags.items()
    assert {"refkd.trial", "refkd.state", "refkd.role", "refkd.teacher_id"} <= told.keys()


def test_a_lost_store_is_filled_again(study: SmallStudy) -> None:
    client(study).rename_experiment(experiment(study), "another")
    told = examine(study.path)
    assert [(row.check, row.fixable) for row in told.findings] == [("record", True)]
    assert client(study).get_experiment_by_name(EXPERIMENT) is None, "looking makes nothing"
    assert examine(study.path, fix=True).findings == []
    check_record(study)


def test_a_server_that_lost_all_is_told_all_again(
    mlflow_uri: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    study = make_study(tmp_path, tiny_dataset, tracking=mlflow_uri)
    check_record(study)
    client(study).rename_experiment(experiment(study), "lost")
    assert examine(study.path, fix=True).findings == []
    check_record(study)
    client(study).rename_experiment(experiment(study), "lost again")
    assert sync(study.path).left == 0
    check_record(study)
    client(study).delete_experiment(experiment(study))
    assert examine(study.path, fix=True).findings == []
    check_record(study)


@pytest.mark.parametrize("number", [0, 1])
def test_a_study_killed_before_it_told_anything_of_a_trial(study: SmallStudy, number: int) -> None:
    """Its run, its ancestors and its student are told from what the study and its folder hold."""
    key = f"trial/{number:04d}"
    purge(study, key)
    if number == 0:
        forget_model(study, "student-0000")
    assert [row.check for row in examine(study.path).findings] == ["steps"]
    assert examine(study.path, fix=True).findings == []
    check_record(study)


def test_a_value_that_differs_is_told_and_left(study: SmallStudy) -> None:
    run_id = run_of(study, "trial/0000").info.run_id
    client(study).log_metric(run_id, "val_id/miou", 77.0, step=2)
    told = examine(study.path, fix=True)
    assert [(row.check, row.fixable) for row in told.findings] == [("steps", False)]
    assert "differ in val_id/miou of epochs [2]" in told.findings[0].what


def test_a_lost_cursor_costs_no_run_and_no_row(study: SmallStudy) -> None:
    shutil.rmtree(target(study).folder)
    runs = len(client(study).search_runs([experiment(study)], "", ViewType.ALL))
    assert [row.check for row in examine(study.path, fix=True).fixed] == ["delivery"]
    assert len(client(study).search_runs([experiment(study)], "", ViewType.ALL)) == runs
    check_record(study)


def test_a_study_that_was_never_sent_is_sent_by_sync(
    tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    """All its launches had tracking off: nothing is missing once it is switched on."""
    quiet = make_study(tmp_path, tiny_dataset)
    content = yaml.safe_load(quiet.path.read_text())
    tracking = {"uri": mlflow_store, "enabled": True}
    quiet.path.write_text(yaml.safe_dump({**content, "tracking": tracking}))
    study = SmallStudy(path=quiet.path, file=load_study_file(quiet.path), url=quiet.url)
    (row,) = examine(study.path).findings
    assert (row.check, row.fixable) == ("delivery", False)
    assert f"refkd sync {study.path}" in row.remedy
    assert sync(study.path).left == 0
    check_record(study)
    assert examine(study.path).findings == []
    tags = run_of(study, "trial/0001").data.tags
    assert tags["refkd.git_commit"] == environment().git_commit


def test_a_teacher_without_a_run_is_named_where_its_dataset_is_gone(
    study: SmallStudy, tmp_path: Path
) -> None:
    no_teacher_run(study)
    content = yaml.safe_load(study.path.read_text())
    study.path.write_text(yaml.safe_dump({**content, "dataset": str(tmp_path / "gone")}))
    told = [row for row in examine(study.path, fix=False).findings if row.check == "record"]
    assert [(row.what, row.fixable) for row in told] == [
        ("teacher id has no finished run in MLflow", False)
    ]


def test_what_mlflow_refused_is_told(study: SmallStudy) -> None:
    refused = target(study).folder / REFUSED
    refused.write_text("{}\n")
    told = examine(study.path, fix=True)
    assert [(row.check, row.fixable) for row in told.findings] == [("delivery", False)]
    assert str(refused) in told.findings[0].what


def test_a_server_that_is_down_is_told(study: SmallStudy) -> None:
    text = study.path.read_text().replace(uri(study), "http://127.0.0.1:9")
    study.path.write_text(text)
    told = examine(study.path)
    assert [row.check for row in told.findings] == ["delivery", "record"]
    assert "http://127.0.0.1:9 does not answer" in told.findings[1].what
