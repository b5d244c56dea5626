"""Datasets without test splits: everything works, and says in a line what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.ended_study import SCORES, EndedStudy, FakeTrainer, end_study
from support.published_layouts import write_annotations
from support.report_page import content_of

from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate
from refkd.errors import DataError
from tune import evaluate_final, finalists
from tune.display.dataset import ingredients
from tune.execution.progress import Reporter
from tune.report import tables
from tune.study.ledger import read_looks
from tune.study.snapshot import open_snapshot

BOTH = "no test_id and no test_ood"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = write_annotations(tmp_path / "annotations")
    for split in ("test_iid", "test_ood"):
        (folder / f"charades_{split}.json").unlink()
    config = SimulationConfig(feature_dim=8, word_dim=6, min_clips=8, max_clips=12)
    return simulate(out=tmp_path / "dataset", config=config, annotations=folder)


@pytest.fixture
def study(tmp_path: Path, dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, dataset)


class Stages(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, message: str) -> None:
        self.said.append(message)


def test_a_dataset_says_so(dataset: Dataset) -> None:
    assert dataset.manifest.no_test == BOTH
    assert ("test", f"{BOTH}: `refkd evaluate --final` has nothing to look at") in list(
        ingredients(dataset.manifest)
    )


def test_one_test_role_alone_is_named(dataset: Dataset) -> None:
    roles = {**dataset.manifest.roles, "test_id": dataset.manifest.roles["val_id"]}
    assert dataset.manifest.model_copy(update={"roles": roles}).no_test == "no test_ood"


def test_a_look_is_refused_before_it_is_written_down(study: EndedStudy) -> None:
    with pytest.raises(DataError, match=f"has {BOTH}, and a look needs both test roles; prep"):
        evaluate_final(study.path)
    assert read_looks(study.file.folder) == []


def test_finalists_and_the_report_say_so(study: EndedStudy, dataset: Dataset) -> None:
    scores = {number: [one] * 3 for number, one in SCORES.items()}
    stages = Stages()
    finalists(study.path, top=1, seeds=1, train=FakeTrainer(dataset, scores), reporter=stages)
    line = f"the dataset has {BOTH}: `refkd evaluate --final` cannot follow"
    assert stages.said.count(line) == 1
    content = content_of(study.path)
    assert f"The dataset has {BOTH}, so nobody can look at the test roles." in str(content)
    assert not [one for one in tables.commands(open_snapshot(study.path)) if "test" in one]
