"""A study file, and students with random weights that are registered as its champions."""

from __future__ import annotations

from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.evaluation.comparison import Figure
from refkd.exported import export
from refkd.models import VSLNetConfig, build_backbone
from tune.config.study_file import StudyFile
from tune.tracking.card import Registration
from tune.tracking.registry import register_champions

NAME = "refkd-quick"


def study_file(folder: Path, uri: str) -> StudyFile:
    return StudyFile.model_validate(
        {
            "name": "quick",
            "dataset": str(folder / "dataset"),
            "workspace": str(folder / "runs"),
            "space": {"distill.kd_temperature": {"float": [0.01, 4.0]}},
            "tracking": {"uri": uri},
        }
    )


def write_retriever(dataset: Dataset, folder: Path, *, seed: int) -> Path:
    config = VSLNetConfig(hidden=16, heads=2, char_dim=4)
    export(build_backbone(config, dataset.model_inputs(), seed=seed), config, dataset, folder)
    return folder


def register(
    folder: Path, dataset: Dataset, uri: str, champions: dict[str, int]
) -> dict[str, Path]:
    """Register a student an alias; return where each was exported to."""
    file = study_file(folder, uri)
    made = {
        alias: write_retriever(dataset, folder / "champions" / alias, seed=number)
        for alias, number in champions.items()
    }
    cell = {"miou": Figure(value=40.0, low=38.5, high=41.25)}
    students = [
        Registration(
            alias=alias,
            trial=number,
            run=f"trial/{number:04d}",
            folder=made[alias],
            scores={"val_id": cell, "val_ood": cell},
            reason="the best",
        )
        for alias, number in champions.items()
    ]
    assert register_champions(file, dataset, students, identity="0123456789ab")
    return made
