"""Studies side by side: what stands in each column, and paired differences of the champions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ended_study import SCORES, EndedStudy, FakeTrainer, end_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate
from refkd.errors import RefKDError
from refkd.evaluation.comparison import MEANING
from refkd.training.export import WEIGHTS, open_student
from refkd.training.validation import evaluate_role
from tune import finalists
from tune.cli import app
from tune.results.side_by_side import SideBySide, side_by_side
from tune.study.folders import trial_folder


def make(folder: Path, dataset: Dataset, **changes: Any) -> EndedStudy:
    folder.mkdir(exist_ok=True)
    return end_study(folder, dataset, **changes)


@pytest.fixture
def two(tmp_path: Path, tiny_dataset: Dataset) -> tuple[EndedStudy, EndedStudy]:
    """Studies of the same dataset whose students differ."""
    other = {"hidden": 12, "heads": 3, "char_dim": 4}
    return (
        make(tmp_path / "a", tiny_dataset),
        make(tmp_path / "b", tiny_dataset, name="other", backbone=other),
    )


def compared(*studies: EndedStudy, reference: list[float] | None = None) -> SideBySide:
    return side_by_side([study.path for study in studies], reference)


def test_a_column_says_what_a_study_found_and_cost(two: tuple[EndedStudy, EndedStudy]) -> None:
    found = compared(*two)
    one, other = found.studies
    assert (one.study, other.study) == ("ended", "other")
    assert one.states == {"COMPLETE": 4}
    assert one.best == {"val_id/miou": (0, 30.0), "val_ood/miou": (2, 30.0)}
    assert one.front == 3
    assert one.epochs == 8
    assert one.hypervolume == pytest.approx(10 * 30 + 10 * 20 + 10 * 10)
    assert found.reference == [0.0, 0.0]
    assert found.notes == []


def test_a_study_without_a_trial_that_counts_is_a_column_too(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    unreachable = [{"metric": "val_id/miou", "at_least": 99.0}]
    found = compared(
        make(tmp_path / "a", tiny_dataset),
        make(tmp_path / "b", tiny_dataset, name="none", constraints=unreachable),
    )
    other = found.studies[1]
    assert (other.best, other.front, other.hypervolume) == ({}, 0, 0.0)
    assert "no champion yet" in found.notes[0]


@pytest.mark.parametrize(
    ("reference", "volume"), [([5.0, 5.0], 25 * 5 + 15 * 10 + 5 * 10), ([15.0, 15.0], 25.0)]
)
def test_all_hypervolumes_begin_at_one_reference(
    two: tuple[EndedStudy, EndedStudy], reference: list[float], volume: float
) -> None:
    found = compared(*two, reference=reference)
    assert [one.hypervolume for one in found.studies] == pytest.approx([volume] * 2)


def test_champions_are_compared_pair_by_pair(
    two: tuple[EndedStudy, EndedStudy], tiny_dataset: Dataset
) -> None:
    found = compared(*two)
    assert [d.alias for d in found.differences] == ["best-id", "best-ood"]
    pairs = tiny_dataset.role("val_ood")
    for difference, number in zip(found.differences, (0, 2), strict=True):
        first, second = (
            evaluate_role(
                open_student(trial_folder(s.file.folder, number)).backbone(tiny_dataset), pairs
            ).tiou
            for s in two
        )
        figure = difference.roles["val_ood"]["miou"]
        assert figure.value == pytest.approx(100 * float(np.mean(second - first)))
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
        assert difference.seeds == (1, 1)
    again = compared(*two)
    assert again == found


def test_a_study_beside_itself_has_no_difference(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = make(tmp_path / "a", tiny_dataset)
    for difference in compared(study, study).differences:
        for row in difference.roles.values():
            assert {(f.value, f.low, f.high) for f in row.values()} == {(0.0, 0.0, 0.0)}


def test_finalists_stand_for_a_study_with_all_their_seeds(
    two: tuple[EndedStudy, EndedStudy], tiny_dataset: Dataset
) -> None:
    scores = {n: [SCORES[n]] * 2 for n in SCORES}
    finalists(two[1].path, top=1, seeds=2, train=FakeTrainer(tiny_dataset, scores))
    found = compared(*two)
    assert [one.from_finalists for one in found.studies] == [False, True]
    assert {d.seeds for d in found.differences} == {(1, 2)}


def test_students_of_the_same_seeds_are_paired_and_others_are_not(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    students = {"replicates": {"seeds": 2}}
    base, same, apart = (
        make(tmp_path / name, tiny_dataset, name=name, **students, **more)
        for name, more in (("a", {}), ("b", {}), ("c", {"seed": 5}))
    )
    for difference in compared(base, same, apart).differences:
        assert difference.seeds == (2, 2)
        spreads = [figure.sd for row in difference.roles.values() for figure in row.values()]
        paired = difference.other.startswith("b ")
        assert [spread is not None for spread in spreads] == [paired] * len(spreads)


def test_what_cannot_be_paired_is_said(
    two: tuple[EndedStudy, EndedStudy], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    config = SimulationConfig(
        videos=60, queries=2, feature_dim=16, word_dim=12, min_clips=8, max_clips=16, seed=7
    )
    elsewhere = make(tmp_path / "c", simulate(out=tmp_path / "other", config=config))
    single = make(tmp_path / "d", tiny_dataset, objectives=["val_id/miou"])
    for alias in (0, 2):
        (trial_folder(two[1].file.folder, alias) / WEIGHTS).unlink()
    found = compared(two[0], two[1], elsewhere, single)
    notes = "\n".join(found.notes)
    assert "other (" in notes
    assert "the weights are missing" in notes
    assert "it was searched on another dataset" in notes
    assert "has other objectives, so no common hypervolume" in notes
    assert found.studies[3].hypervolume is None


def test_the_command_shows_it_and_names_mistakes(two: tuple[EndedStudy, EndedStudy]) -> None:
    paths = [str(study.path) for study in two]
    shown = CliRunner().invoke(app, ["compare", *paths])
    assert shown.exit_code == 0, shown.output
    for text in ("Studies side by side", "hypervolume above 0, 0", "best-ood", "val_ood", MEANING):
        assert text in shown.output
    read = json.loads(CliRunner().invoke(app, ["compare", *paths, "--json"]).stdout)
    assert SideBySide.model_validate(read) == compared(*two)
    with pytest.raises(RefKDError, match="one study has nothing beside it"):
        side_by_side([two[0].path])
    with pytest.raises(RefKDError, match="--reference has 1 values"):
        compared(*two, reference=[3.0])
