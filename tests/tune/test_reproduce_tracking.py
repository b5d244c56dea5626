"""What a table logs to MLflow survives a damaged file of epochs and a folder that takes none."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from refkd.models import VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig
from refkd.urls import Url
from tune.execution.progress import Reporter
from tune.reproduce.request import Request
from tune.reproduce.tracking import EPOCHS, TableRecord
from tune.reproduce.units import Unit
from tune.tracking.operations import LogEpoch

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
)


@pytest.mark.parametrize("damage", ["cut off", "a folder in its place"])
def test_epochs_are_logged_whatever_lies_in_the_networks_folder(
    damage: str, tmp_path: Path, mlflow_store: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = TeacherConfig(
        backbone=VSLNetConfig(), recipe=RecipeConfig.named("id"), training=TrainingConfig(epochs=2)
    )
    unit = Unit(row="VSLNet", replicate=0, config=network, folder=tmp_path / "unit")
    path = unit.folder / EPOCHS
    path.parent.mkdir()
    if damage == "cut off":
        path.write_text('{"1": {"at": 3', encoding="utf-8")
    else:
        path.mkdir()
    request = Request(
        name="table1", dataset=tmp_path / "data", workspace=tmp_path, tracking=Url(mlflow_store)
    )
    with TableRecord(request, [unit], Reporter()) as record:
        for epoch in (1, 2, 2):
            scores = {"val_id/miou": float(epoch), "val_ood/miou": 3.0, "lost": float("nan")}
            record.epoch_ended(unit.job(), epoch, scores)
        logged = [one for one in record.news() if isinstance(one, LogEpoch)]
    assert [(one.epoch, one.metrics) for one in logged] == [
        (1, {"val_id/miou": 1.0, "val_ood/miou": 3.0}),
        (2, {"val_id/miou": 2.0, "val_ood/miou": 3.0}),
    ]
    assert f"{path} is damaged" in caplog.text


def test_epochs_that_a_full_disk_did_not_take_are_kept_with_the_next_one(
    tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = TeacherConfig(
        backbone=VSLNetConfig(), recipe=RecipeConfig.named("id"), training=TrainingConfig(epochs=3)
    )
    unit = Unit(row="VSLNet", replicate=0, config=network, folder=tmp_path / "unit")
    request = Request(
        name="table1", dataset=tmp_path / "data", workspace=tmp_path, tracking=Url(mlflow_store)
    )

    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    scores = {"val_id/miou": 1.0, "val_ood/miou": 3.0}
    with TableRecord(request, [unit], Reporter()) as record:
        with monkeypatch.context() as patched:
            patched.setattr("tune.reproduce.tracking.write_json", full)
            record.epoch_ended(unit.job(), 1, scores)
        record.epoch_ended(unit.job(), 2, scores)
    assert list(json.loads((unit.folder / EPOCHS).read_text())) == ["1", "2"]
