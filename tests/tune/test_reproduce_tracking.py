"""What a table tells MLflow survives a damaged file of epochs and a folder that takes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from refkd.models import VSLNetConfig
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig
from tune.reproduce.tracking import EPOCHS, TableRecord
from tune.reproduce.units import Unit
from tune.tracking.operations import LogEpoch

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
)


@pytest.mark.parametrize("damage", ["cut off", "a folder in its place"])
def test_epochs_are_told_whatever_lies_in_the_networks_folder(
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
    with TableRecord("table1", tmp_path, tmp_path / "home", uri=mlflow_store) as record:
        for epoch in (1, 2, 2):
            record.epoch(unit, epoch, {"m": float(epoch), "lost": float("nan")})
        told = [one for one in record.news() if isinstance(one, LogEpoch)]
    assert [(one.epoch, one.metrics) for one in told] == [(1, {"m": 1.0}), (2, {"m": 2.0})]
    assert f"{path} is damaged" in caplog.text
