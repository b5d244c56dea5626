"""Champions in a real registry: loaded without pickle, registered once, refused when changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.evaluation.comparison import Figure
from refkd.exported import export
from refkd.models import VSLNetConfig, build_backbone
from refkd.retriever import Retriever
from tune.config.study_file import StudyFile
from tune.study.events import AliasMoved
from tune.tracking.card import Registration
from tune.tracking.delivery import Delivered, send
from tune.tracking.model_files import requirements
from tune.tracking.operations import BeginRun
from tune.tracking.registry import register_champions
from tune.tracking.target import registered_name, target_of

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own imports and its advice on optional environment managers.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
IDENTITY = "0123456789ab"
ALIASES = {"best-id": 3, "best-ood": 5}
SCORES = {
    role: {"miou": Figure(value=40.0, low=38.5, high=41.25)} for role in ("val_id", "val_ood")
}


@pytest.fixture
def file(tmp_path: Path, mlflow_store: str) -> StudyFile:
    return StudyFile.model_validate(
        {
            "name": "quick",
            "dataset": str(tmp_path / "dataset"),
            "workspace": str(tmp_path / "runs"),
            "space": {"distill.kd_temperature": {"float": [0.01, 4.0]}},
            "tracking": {"uri": mlflow_store},
        }
    )


@pytest.fixture
def folders(tiny_dataset: Dataset, tmp_path: Path) -> dict[str, Path]:
    """Two exported students, with random weights."""
    found = {}
    for seed, alias in enumerate(ALIASES):
        found[alias] = tmp_path / "champions" / alias
        write_retriever(tiny_dataset, found[alias], seed=seed)
    return found


def write_retriever(dataset: Dataset, folder: Path, *, seed: int) -> None:
    config = VSLNetConfig(hidden=16)
    export(build_backbone(config, dataset.model_inputs(), seed=seed), config, dataset, folder)


def register(
    file: StudyFile,
    dataset: Dataset,
    folders: dict[str, Path],
    champions: dict[str, int] = ALIASES,
    *,
    move: bool = True,
) -> list[AliasMoved] | None:
    students = [
        Registration(
            alias=alias,
            trial=number,
            run=f"trial/{number:04d}",
            folder=folders[alias],
            scores=SCORES,
            reason="the best",
        )
        for alias, number in champions.items()
    ]
    return register_champions(file, dataset, students, identity=IDENTITY, move=move)


def versions(store: str) -> dict[str, dict[str, str]]:
    found = MlflowClient(store).search_model_versions(f"name = '{registered_name('quick')}'")
    return {str(version.version): dict(version.tags) for version in found}


def aliases(store: str) -> dict[str, str]:
    held = MlflowClient(store).get_registered_model(registered_name("quick")).aliases
    return {name: str(version) for name, version in held.items()}


def test_champions_are_registered_once(
    file: StudyFile, tiny_dataset: Dataset, folders: dict[str, Path], mlflow_store: str
) -> None:
    for _ in range(2):
        assert register(file, tiny_dataset, folders)
        assert not mlflow.is_tracking_uri_set()
        assert aliases(mlflow_store) == {"best-id": "1", "best-ood": "2"}
        assert set(versions(mlflow_store)) == {"1", "2"}
    tags = versions(mlflow_store)["2"]
    assert tags["refkd.trial"] == "5"
    assert tags["val_ood/miou"] == "40.00 [38.50, 41.25]"
    assert tags["refkd.dataset_fingerprint"] == tiny_dataset.fingerprint


def test_an_alias_moves_to_a_better_student(
    file: StudyFile,
    tiny_dataset: Dataset,
    folders: dict[str, Path],
    mlflow_store: str,
    tmp_path: Path,
) -> None:
    register(file, tiny_dataset, folders)
    better = tmp_path / "better"
    write_retriever(tiny_dataset, better, seed=9)
    register(file, tiny_dataset, {**folders, "best-id": better}, {**ALIASES, "best-id": 4})
    assert aliases(mlflow_store) == {"best-id": "3", "best-id-before": "1", "best-ood": "2"}


def test_a_search_gives_an_alias_and_never_moves_one(
    file: StudyFile,
    tiny_dataset: Dataset,
    folders: dict[str, Path],
    mlflow_store: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    grown = tmp_path / "grown"
    write_retriever(tiny_dataset, grown, seed=9)
    register(file, tiny_dataset, folders, move=False)
    champions, found = {**ALIASES, "best-id": 4}, {**folders, "best-id": grown}
    assert not caplog.text
    for _ in range(2):
        register(file, tiny_dataset, found, champions, move=False)
        assert set(versions(mlflow_store)) == {"1", "2", "3"}
        assert aliases(mlflow_store) == {"best-id": "1", "best-ood": "2"}
    assert "best-id stays with version 1 of refkd-quick; trial 4 is version 3" in caplog.text
    assert "best-ood stays" not in caplog.text


def test_one_student_that_is_best_in_both_is_one_version(
    file: StudyFile, tiny_dataset: Dataset, folders: dict[str, Path], mlflow_store: str
) -> None:
    same = dict.fromkeys(ALIASES, folders["best-id"])
    register(file, tiny_dataset, same, dict.fromkeys(ALIASES, 3))
    assert aliases(mlflow_store) == {"best-id": "1", "best-ood": "1"}
    assert set(versions(mlflow_store)) == {"1"}


def test_a_version_comes_from_the_trials_run(
    file: StudyFile, tiny_dataset: Dataset, folders: dict[str, Path], mlflow_store: str
) -> None:
    run = BeginRun(
        run="trial/0003", time=0, name="trial-0003", params={}, tags={"refkd.trial": "3"}
    )
    target = target_of(file, IDENTITY)
    assert target is not None
    assert send(target, [run], 120) == Delivered()
    register(file, tiny_dataset, folders)
    client = MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("refkd/quick")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`refkd.trial` = '3'")
    models = client.search_logged_models([experiment.experiment_id])
    sources = {model.name: model.source_run_id for model in models}
    assert sources == {"student-0003": runs[0].info.run_id, "student-0005": None}


def test_an_unreachable_server_is_told_and_not_raised(
    file: StudyFile,
    tiny_dataset: Dataset,
    folders: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracking = {"uri": "http://127.0.0.1:9"}  # nobody listens there
    away = StudyFile.model_validate({**file.model_dump(by_alias=True), "tracking": tracking})
    assert not register(away, tiny_dataset, folders)
    assert "could not be registered" in caplog.text
    assert str(folders["best-id"].parent) in caplog.text


def rows(dataset: Dataset, count: int = 3) -> tuple[pd.DataFrame, list[Any]]:
    rng = np.random.default_rng(0)
    asked = [
        (rng.normal(size=(5 + i, dataset.feature_dim)), 10.0 + i, f"a person opens door {i}")
        for i in range(count)
    ]
    table = pd.DataFrame(
        {
            "features": [features.tolist() for features, _, _ in asked],
            "duration": [duration for _, duration, _ in asked],
            "query": [query for _, _, query in asked],
        }
    )
    return table, asked


def test_the_loaded_model_answers_as_the_retriever_does(
    file: StudyFile,
    tiny_dataset: Dataset,
    folders: dict[str, Path],
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    register(file, tiny_dataset, folders)
    table, asked = rows(tiny_dataset)
    for alias, folder in folders.items():
        model = load(mlflow_store, alias, monkeypatch)
        answer = model.predict(table, params={"top": 2})
        retriever = Retriever.load(folder)
        for row, (features, duration, query) in zip(
            answer.to_dict(orient="records"), asked, strict=True
        ):
            (spans,) = retriever.retrieve(features, query, duration=duration, top=2)
            assert row["start"] == [span.start for span in spans]
            assert row["end"] == [span.end for span in spans]
            assert row["score"] == [span.score for span in spans]
            assert all(
                0 <= s < e <= duration for s, e in zip(row["start"], row["end"], strict=True)
            )


def load(store: str, alias: str, monkeypatch: pytest.MonkeyPatch) -> mlflow.pyfunc.PyFuncModel:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return mlflow.pyfunc.load_model(f"models:/{registered_name('quick')}@{alias}")


@pytest.fixture
def model_folder(
    file: StudyFile,
    tiny_dataset: Dataset,
    folders: dict[str, Path],
    mlflow_store: str,
    tmp_path: Path,
) -> Path:
    """A copy of a registered model's files."""
    register(file, tiny_dataset, folders)
    location = MlflowClient(mlflow_store).get_model_version_download_uri(
        registered_name("quick"), "1"
    )
    copy = tmp_path / "elsewhere"
    shutil.copytree(location.removeprefix("file://"), copy)
    return copy


def test_its_files_hold_no_pickle(model_folder: Path) -> None:
    names = {path.suffix for path in model_folder.rglob("*") if path.is_file()}
    assert names.isdisjoint({".pkl", ".pickle", ".pt", ".pth", ".bin", ".npy", ".npz"})
    assert ".safetensors" in names


@pytest.mark.parametrize("name", ["weights.safetensors", "words.safetensors"])
def test_a_changed_byte_is_refused(model_folder: Path, name: str) -> None:
    (path,) = model_folder.rglob(name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        mlflow.pyfunc.load_model(str(model_folder))


def test_it_loads_where_refkd_is_not_installed(model_folder: Path, tmp_path: Path) -> None:
    """A process without this project on its path finds refkd beside the weights."""
    code = (
        "import sys; sys.path = [p for p in sys.path if not p.startswith(sys.argv[2])];"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        "import importlib.util; assert importlib.util.find_spec('refkd') is None;"
        "import mlflow; model = mlflow.pyfunc.load_model(sys.argv[1]);"
        "import refkd; print(refkd.__file__); print(model.metadata.signature.inputs.input_names())"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(model_folder), str(root / "refkd")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    where, names = done.stdout.strip().splitlines()
    assert Path(where).is_relative_to(model_folder)
    assert names == "['features', 'duration', 'query']"


def test_a_server_registers_and_gives_back(
    file: StudyFile,
    tiny_dataset: Dataset,
    folders: dict[str, Path],
    mlflow_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracking = {"uri": mlflow_uri, "experiment": "refkd/registered"}
    served = StudyFile.model_validate({**file.model_dump(by_alias=True), "tracking": tracking})
    for _ in range(2):
        assert register(served, tiny_dataset, folders)
        assert aliases(mlflow_uri) == {"best-id": "1", "best-ood": "2"}
    table, _ = rows(tiny_dataset)
    answer = load(mlflow_uri, "best-ood", monkeypatch).predict(table)
    assert list(answer.columns) == ["start", "end", "score"]
    assert len(answer) == len(table)


def test_requirements_are_the_installed_versions() -> None:
    found = requirements()
    names = {line.partition("==")[0] for line in found}
    assert {"torch", "numpy", "safetensors", "mlflow"} <= names
    assert names.isdisjoint({"ray", "optuna", "pytest"})
    assert not [line for line in found if "+" in line or "==" not in line]


def test_what_a_killed_registration_left_is_removed_by_the_next(
    file: StudyFile,
    tiny_dataset: Dataset,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is written to the temporary folder, where nobody would look for it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    left = file.folder / "tracking" / "model" / "saved"
    left.mkdir(parents=True)
    register(file, tiny_dataset, folders)
    assert not left.parent.exists()
    assert list(temporary.iterdir()) == []
