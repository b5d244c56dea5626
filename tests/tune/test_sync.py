"""`refkd sync`: what waited goes out later, once, and whoever is at work is left alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.recording import by_name, rows
from support.small_study import OUTCOMES, SmallStudy, make_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.cli import app
from tune.ending.exits import ExitCode
from tune.study.environment import environment
from tune.study.finalist_events import FinalistEpochEnded, FinalistsBegun
from tune.study.lease import LeaseError, lease
from tune.study.snapshot import open_snapshot
from tune.study.stored_study import identity_of
from tune.tracking import delivery
from tune.tracking.lineage import found_on_disk
from tune.tracking.operations import RefusedError
from tune.tracking.projection import Projection
from tune.tracking.sync import sync
from tune.tracking.target import experiment_name, target_of

AWAY = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(delivery, "LONGEST_WAIT", 0.01)


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> SmallStudy:
    """A study whose tracking server was down all the time."""
    monkeypatch.setattr("tune.tracking.record.CLOSE_SECONDS", 0.1)
    return make_study(tmp_path, tiny_dataset, tracking=AWAY)


@contextmanager
def server_at(study: SmallStudy, uri: str | None) -> Iterator[None]:
    """Change the study file, as if the server had come up at another address."""
    content = yaml.safe_load(study.path.read_text())
    tracking = {"uri": uri, "enabled": uri is not None}
    study.path.write_text(yaml.safe_dump({**content, "tracking": tracking}))
    yield
    study.path.write_text(yaml.safe_dump(content))


def waiting(study: SmallStudy) -> int:
    opened = study.open()
    made = found_on_disk(study.file, opened.optuna.user_attrs)
    return len(Projection(study.file, opened.optuna.user_attrs, opened.views(), made).operations())


def run(study: SmallStudy) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["sync", str(study.path), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_a_server_that_is_down_leaves_everything(study: SmallStudy) -> None:
    code, found = run(study)
    assert code == ExitCode.LEFT
    assert (found["sent"], found["left"], found["refused"]) == (0, waiting(study), 0)
    assert "refused" in found["problem"].lower() or "connection" in found["problem"].lower()
    shown = CliRunner().invoke(app, ["sync", str(study.path)])
    assert shown.exit_code == ExitCode.LEFT
    assert f"{waiting(study)} left (" in shown.output


def test_what_waited_is_sent_once(study: SmallStudy, mlflow_store: str) -> None:
    with server_at(study, mlflow_store):
        code, found = run(study)
        assert code == 0
        assert (found["sent"], found["left"], found["refused"]) == (waiting(study), 0, 0)
        assert found["problem"] is None
        assert run(study) == (0, {**found, "sent": 0})
        named = by_name(mlflow_store, experiment_name(study.file))
    assert {f"trial-{n:04d}" for n in OUTCOMES} < set(named)
    for number, (_, epochs) in OUTCOMES.items():
        steps = [step for step, _ in rows(mlflow_store, named[f"trial-{number:04d}"])]
        assert steps == list(range(1, epochs + 1))


def test_refused_events_are_counted_and_put_aside(study: SmallStudy, mlflow_store: str) -> None:
    opened, code = study.open(), environment()
    opened.append(FinalistsBegun(begun=1.0, trials=[0], seeds=[9], environment=code))
    metrics = {"R1@0.5": 1.0}  # a name that MLflow does not take
    opened.append(FinalistEpochEnded(trial=0, replicate=0, epoch=1, at=2.0, metrics=metrics))
    with server_at(study, mlflow_store):
        code, found = run(study)
        assert (code, found["refused"], found["left"]) == (ExitCode.DISAGREES, 1, 0)
        assert found["sent"] == waiting(study) - 1
        assert "R1@0.5" in Path(found["refused_file"]).read_text()


@pytest.mark.parametrize("killed", [False, True])
def test_a_new_experiment_gets_everything_again(
    study: SmallStudy, mlflow_store: str, killed: bool
) -> None:
    """Also where the first to find it gone was killed once it had made another."""
    from mlflow import MlflowClient

    with server_at(study, mlflow_store):
        sync(study.path)
        client = MlflowClient(mlflow_store)
        held = client.get_experiment_by_name(experiment_name(study.file))
        client.rename_experiment(held.experiment_id, "elsewhere")
        if killed:
            opened = open_snapshot(study.path)
            target = target_of(opened.file, identity_of(opened.attributes))
            assert target is not None
            target.writer()
        assert sync(study.path).sent == waiting(study)


def test_all_takes_back_what_a_server_refused(
    study: SmallStudy, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that will not take one kind of event, and is mended."""

    def fail(*_: object) -> None:
        raise RefusedError("bad name")

    with server_at(study, mlflow_store):
        with monkeypatch.context() as patch:
            patch.setattr("tune.tracking.writer.Writer._epochs", fail)
            refused = sync(study.path).refused
            epochs = sum(epochs for _, epochs in OUTCOMES.values()) + 2  # teachers'
            ends = len(OUTCOMES) + 3  # teachers' and the study's
            assert refused == epochs + ends  # which are sent together
        assert sync(study.path).sent == 0
        again = sync(study.path, everything=True)
        assert (again.sent, again.left, again.refused) == (waiting(study), 0, 0)
        assert not Path(again.refused_file).exists()
        named = by_name(mlflow_store, experiment_name(study.file))
        assert len(rows(mlflow_store, named["trial-0000"])) == OUTCOMES[0][1]


def test_what_a_server_fails_on_for_a_while_is_sent_by_the_next_call(
    study: SmallStudy, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("500")

    with server_at(study, mlflow_store):
        with monkeypatch.context() as patch:
            patch.setattr("tune.tracking.writer.Writer._epochs", fail)
            first = sync(study.path)
        assert (first.refused, first.problem) == (0, "500")
        assert first.left >= sum(epochs for _, epochs in OUTCOMES.values())
        again = sync(study.path)
        assert (again.sent, again.left, again.refused) == (first.left, 0, 0)


def test_a_driver_at_work_is_left_alone(study: SmallStudy, mlflow_store: str) -> None:
    with (
        server_at(study, mlflow_store),
        lease(study.url, study.file.name, signs=[1.0, 1.0]),
        pytest.raises(LeaseError, match="process"),
    ):
        sync(study.path)


def test_mistakes_are_named(study: SmallStudy, tmp_path: Path) -> None:
    with server_at(study, None), pytest.raises(RefKDError, match="tracking is off"):
        sync(study.path)
    (study.file.folder / "study.db").rename(tmp_path / "gone.db")
    with pytest.raises(RefKDError, match="has not been begun"):
        sync(study.path)
