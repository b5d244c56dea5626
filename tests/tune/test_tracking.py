"""A delivery to a real SQLite store: everything once, whatever is repeated or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from support.recording import (
    EXPERIMENT,
    SECONDS,
    by_name,
    check_everything,
    put_everything,
    rows,
    runs,
    target,
    tracker,
)

from refkd.urls import Url
from tune.tracking.delivery import Delivered
from tune.tracking.reach import TrackingError
from tune.tracking.store import Store, connect
from tune.tracking.target import CLIENT_SETTINGS, REFUSED

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own imports, which nothing here can mend.
    "ignore::DeprecationWarning:mlflow.*",
    "ignore::FutureWarning:mlflow.*",
    "ignore::sqlalchemy.exc.SADeprecationWarning",
)


def test_everything_arrives(mlflow_store: str, tmp_path: Path) -> None:
    track = tracker(mlflow_store, tmp_path)
    put_everything(track, tmp_path)
    assert track.close(SECONDS) == Delivered()
    check_everything(mlflow_store)
    parent = by_name(mlflow_store)["quick"]
    assert parent.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())
    (artifact,) = MlflowClient(mlflow_store).list_artifacts(parent.info.run_id)
    assert artifact.path == "study.yaml"


MAKE = """
import os, sys
from alembic.operations import Operations
from refkd.urls import Url
from tune.tracking.store import connect
added = 0
def add_column(*arguments, original=Operations.add_column, **named):
    global added
    added += 1
    if added == 9:
        os.kill(os.getpid(), 9)
    return original(*arguments, **named)
Operations.add_column = add_column
connect(Url(sys.argv[1])).search_experiments()
"""


def test_a_store_whose_maker_is_killed_is_made_anew(tmp_path: Path) -> None:
    """MLflow cannot go on with tables that were half made."""
    uri = f"sqlite:///{tmp_path / 'record' / 'mlflow.db'}"
    maker = subprocess.run([sys.executable, "-c", MAKE, uri], capture_output=True)
    assert maker.returncode == -signal.SIGKILL, maker.stderr
    connect(Url(uri)).create_experiment("quick")
    assert [e.name for e in MlflowClient(uri).search_experiments()] == ["quick", "Default"]
    assert [file.name for file in (tmp_path / "record").iterdir()] == ["mlflow.db"]


def test_a_store_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match="cannot be made"):
        connect(Url(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}"))


def test_repeating_everything_changes_nothing(mlflow_store: str, tmp_path: Path) -> None:
    for _ in range(2):
        track = tracker(mlflow_store, tmp_path)
        put_everything(track, tmp_path)
        assert track.close(SECONDS) == Delivered()
    check_everything(mlflow_store)


def test_sending_everything_again_changes_nothing(mlflow_store: str, tmp_path: Path) -> None:
    track = tracker(mlflow_store, tmp_path)
    put_everything(track, tmp_path)
    track.close(SECONDS)
    (cursor,) = (tmp_path / "tracking").glob("cursor-*")
    cursor.unlink()
    again = tracker(mlflow_store, tmp_path)
    put_everything(again, tmp_path)  # each at another time
    assert again.close(SECONDS) == Delivered()
    check_everything(mlflow_store)


def test_another_store_gets_everything(mlflow_store: str, tmp_path: Path) -> None:
    track = tracker("http://127.0.0.1:9", tmp_path)  # nobody listens there
    put_everything(track, tmp_path)
    assert track.close(0.1).left == 12
    again = tracker(mlflow_store, tmp_path)
    put_everything(again, tmp_path)
    assert again.close(SECONDS) == Delivered()
    check_everything(mlflow_store)


MANY = 60
"""Runs enough that the writer is at work when it is killed."""
WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from support.recording import put_everything, tracker
folder = Path(sys.argv[2])
track = tracker(sys.argv[1], folder)
put_everything(track, folder, trials=int(sys.argv[4]), epochs=30)
print("put", flush=True)
time.sleep(600)
"""


def test_a_killed_writer_is_continued(mlflow_store: str, tmp_path: Path) -> None:
    """Kill -9 while the thread is sending; what is left goes out in the next launch."""
    here = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, mlflow_store, str(tmp_path), here, str(MANY)],
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"put\n"
        try:
            while len(runs(mlflow_store)) < 3:
                assert writer.poll() is None
        finally:
            writer.send_signal(signal.SIGKILL)
    assert len(runs(mlflow_store)) < 1 + MANY, "killed too late to show anything"
    track = tracker(mlflow_store, tmp_path)
    put_everything(track, tmp_path, trials=MANY, epochs=30)
    assert track.close(SECONDS) == Delivered()
    check_everything(mlflow_store, trials=MANY, epochs=30)


def test_a_refused_event_is_put_aside_and_the_rest_arrives(
    mlflow_store: str, tmp_path: Path
) -> None:
    track = tracker(mlflow_store, tmp_path)
    track.run_started("trial/0000", "trial-0000", {}, {})
    track.epoch("trial/0000", 1, {"R1@0.5": 1.0})
    gone = tmp_path / "gone.json"
    gone.write_text("{}")
    track.artifact("trial/0000", gone, None)
    gone.unlink()
    track.epoch("trial/0000", 2, {"val_id/miou": 2.0})
    assert track.close(SECONDS).refused == 2
    refused = (tmp_path / "tracking" / REFUSED).read_text().splitlines()
    assert "R1@0.5" in refused[0]
    assert str(gone) in refused[1]
    assert rows(mlflow_store, by_name(mlflow_store)["trial-0000"]) == [(2, 2.0)]


def test_a_parameter_that_changed_becomes_a_tag(mlflow_store: str, tmp_path: Path) -> None:
    for trials in ("2", "4"):
        track = tracker(mlflow_store, tmp_path)
        track.study_started({"budget.trials": trials, "seed": "0"}, {}, [])
        assert track.close(SECONDS) == Delivered()
    (run,) = runs(mlflow_store)
    assert run.data.params == {"budget.trials": "2", "seed": "0"}
    assert {k: v for k, v in run.data.tags.items() if k.startswith("refkd.now")} == {
        "refkd.now.budget.trials": "4"
    }


def test_a_study_that_goes_on_is_running_again(mlflow_store: str, tmp_path: Path) -> None:
    seen = []
    for launch, status in enumerate(("KILLED", None, "FINISHED")):
        track = tracker(mlflow_store, tmp_path)
        track.study_started({}, {"refkd.launched": str(launch)}, [])
        if status:
            track.run_ended("study", status, {}, {})
        track.close(SECONDS)
        seen += [run.info.status for run in runs(mlflow_store)]
    assert seen == ["KILLED", "RUNNING", "FINISHED"]


def test_of_two_runs_with_one_tag_the_fuller_stays(mlflow_store: str, tmp_path: Path) -> None:
    client = MlflowClient(mlflow_store)
    experiment = client.create_experiment(EXPERIMENT)
    tags = {"refkd.run": f"quick/{tmp_path.name}/trial/0000"}
    empty, full = [client.create_run(experiment, tags=tags, start_time=1) for _ in range(2)]
    client.log_metric(full.info.run_id, "val_id/miou", 1.0, step=1, timestamp=1)
    track = tracker(mlflow_store, tmp_path)
    track.epoch("trial/0000", 2, {"val_id/miou": 2.0})
    assert track.close(SECONDS) == Delivered()
    left = {run.info.run_id: run for run in runs(mlflow_store, view=ViewType.ACTIVE_ONLY)}
    assert empty.info.run_id not in left
    assert rows(mlflow_store, left[full.info.run_id]) == [(1, 1.0), (2, 2.0)]


def test_a_run_whose_creation_seemed_to_fail_and_came_late_leaves_one_run(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes the first run only after the client has given up and made another one."""
    create, late = MlflowClient.create_run, list[Callable[[], object]]()

    def slow(client: MlflowClient, *words: Any, **facts: Any) -> Run:
        if facts["run_name"] == "trial-0000" and not late:
            late.append(lambda: create(client, *words, **facts))
            raise TimeoutError("no answer yet")
        made = create(client, *words, **facts)
        for arrive in late[:1]:
            arrive()
        return made

    monkeypatch.setattr(MlflowClient, "create_run", slow)
    monkeypatch.setattr("tune.tracking.delivery.FIRST_WAIT", 0.01)
    track = tracker(mlflow_store, tmp_path)
    put_everything(track, tmp_path, trials=1)
    assert track.close(SECONDS) == Delivered()
    active = runs(mlflow_store, view=ViewType.ACTIVE_ONLY)
    assert sorted(run.info.run_name for run in active) == ["quick", "trial-0000"]
    (run,) = [run for run in active if run.info.run_name == "trial-0000"]
    assert run.info.status == "FINISHED"
    assert rows(mlflow_store, run) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert len(runs(mlflow_store)) == 3


def test_a_run_deleted_by_hand_comes_back_with_its_next_event(
    mlflow_store: str, tmp_path: Path
) -> None:
    track = tracker(mlflow_store, tmp_path)
    put_everything(track, tmp_path)
    track.close(SECONDS)
    client = MlflowClient(mlflow_store)
    client.delete_run(by_name(mlflow_store)["trial-0000"].info.run_id)
    client.delete_experiment(runs(mlflow_store)[0].info.experiment_id)
    again = tracker(mlflow_store, tmp_path)
    again.epoch("trial/0000", 4, {"val_id/miou": 4.0})
    assert again.close(SECONDS) == Delivered()
    run = by_name(mlflow_store)["trial-0000"]
    assert run.info.lifecycle_stage == "active"
    assert rows(mlflow_store, run)[-1] == (4, 4.0)


def test_two_studies_of_one_name_share_no_run(mlflow_store: str, tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        track = tracker(mlflow_store, folder)
        put_everything(track, folder, trials=1)
        track.close(SECONDS)
    assert len(runs(mlflow_store)) == 4
    stores = [Store.open(target(mlflow_store, tmp_path / name)) for name in ("a", "b")]
    found = [store.run("trial/0000") for store in stores]
    assert None not in found
    assert len({run.info.run_id for run in found if run}) == 2


def test_a_model_is_kept_once(mlflow_store: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    track = tracker(mlflow_store, tmp_path)
    for launch in ("1", "2"):
        track.model(
            "teacher/id",
            "teacher-id",
            weights,
            model_type="teacher",
            sha256="abc",
            epoch=1,
            metrics={},
            params={"seed": "0"},
            tags={"refkd.launched": launch},
        )
    assert track.close(SECONDS) == Delivered()
    client = MlflowClient(mlflow_store)
    run = by_name(mlflow_store)["teacher/id"]
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert (model.status, model.model_type) == ("READY", "teacher")
    assert model.source_run_id == run.info.run_id
    copy = Path(model.artifact_location.removeprefix("file://")) / "weights.safetensors"
    assert copy.read_bytes() == b"weights"


def test_the_environment_is_as_before(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout, retries, *_ = CLIENT_SETTINGS
    monkeypatch.setenv(timeout, "77")
    monkeypatch.delenv(retries, raising=False)
    track = tracker(mlflow_store, tmp_path)
    assert (os.environ[timeout], os.environ[retries]) == ("77", CLIENT_SETTINGS[retries])
    track.close(SECONDS)
    assert os.environ[timeout] == "77"
    assert retries not in os.environ


def test_a_launch_imports_no_mlflow() -> None:
    code = "import sys, tune.tracking.record; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
