"""A report of a study that has little to show yet: a sentence in place of each picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.ended_study import end_study, scored
from support.report_page import Page, content_of
from support.small_study import make_study

from refkd.data.dataset import Dataset
from tune.config.study_file import load_study_file
from tune.report.make import compose, render
from tune.study.lease import lease
from tune.study.locate import NoStudyError
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot


@pytest.fixture
def begun(tmp_path: Path, tiny_dataset: Dataset) -> Path:
    """A study file; nothing has run."""
    content: dict[str, Any] = {
        "name": "begun",
        "dataset": str(tiny_dataset.path),
        "workspace": str(tmp_path / "runs"),
        "training": {"epochs": 4},
        "distill": {"warmup_epochs": 1},
        "space": {"distill.lambda_id": {"float": [0.01, 1.0], "log": True}},
        "budget": {"trials": 6},
        "workers": 3,
        "tracking": {"enabled": False},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def url(path: Path) -> str:
    folder = load_study_file(path).folder
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'study.db'}"


def check(path: Path) -> Page:
    """Assert that each figure is either drawn or explained, and return the page."""
    content = content_of(path)
    for figure in content.figures:
        assert figure.text.endswith(".")
        for panel in figure.panels:
            assert panel.label
            assert panel.plot.data
    return Page(render(content))


def drawn(path: Path) -> set[str]:
    return {figure.key for figure in content_of(path).figures if figure.panels}


def test_a_study_that_was_not_begun_is_an_error(begun: Path) -> None:
    with pytest.raises(NoStudyError, match="has not been begun"):
        open_snapshot(begun)


def test_a_study_without_a_trial(begun: Path) -> None:
    SearchStudy(load_study_file(begun).search_spec(), url(begun))
    page = check(begun)
    assert "Nothing can be said: no trial has begun." in page.words
    assert drawn(begun) == set()
    assert page.scripts == []  # what draws is left out where nothing is drawn


def test_three_workers_in_their_first_epochs(begun: Path) -> None:
    study = SearchStudy(load_study_file(begun).search_spec(), url(begun))
    for number in range(3):
        assert study.ask() is not None
        study.record(number, 1, scored(10.0 + number, 5.0))
    with lease(url(begun), "begun", signs=[1.0, 1.0]):
        content = compose(open_snapshot(begun))
    assert content.state == "searching"
    assert content.headline.text == (
        "Nothing can be said yet: 0 of 3 trials have ended, 3 at work."
    )
    assert {f.key for f in content.figures if f.panels} == {"front", "curves"}
    assert compose(open_snapshot(begun)).state == "paused"
    assert "refkd search" in check(begun).words


def test_a_study_whose_trials_all_failed(begun: Path) -> None:
    study = SearchStudy(load_study_file(begun).search_spec(), url(begun))
    while (ask := study.ask()) is not None:
        study.fail(ask.number, "the loss is <not> finite")
    page = check(begun)
    assert "No winner: 6 of 6 trials have ended" in page.words
    assert "the loss is <not> finite" in page.words
    assert "The study has no complete trial; this needs 2." in page.words
    assert "There is no champion to use yet." in page.words


def test_one_complete_trial_and_weights_that_do_not_load(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    study = make_study(tmp_path, tiny_dataset)
    page = check(study.path)
    assert "The queries cannot be answered any more: " in page.words
    assert "The study has only 1 complete trial; this needs 2." in page.words
    assert "1 trial stopped early: 6 epochs were run and 1 saved" in page.words


def test_a_journal_as_storage(tmp_path: Path, tiny_dataset: Dataset) -> None:
    journal = f"journal:{tmp_path / 'study.journal'}"
    study = end_study(tmp_path, tiny_dataset, storage=journal)
    assert {"front", "curves", "parallel", "slices"} <= drawn(study.path)
    check(study.path)


def test_one_objective(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = end_study(tmp_path, tiny_dataset, objectives=["val_ood/miou"])
    page = check(study.path)
    assert "slice-distill-lambda_id-val_ood-miou" in page.labels
    assert "slice-distill-lambda_id-val_id-miou" not in page.labels
    assert "front" in page.labels


def test_a_space_without_warm_up_and_lambdas(tmp_path: Path, tiny_dataset: Dataset) -> None:
    space = {"training.learning_rate": {"choice": [1e-3, 2e-3, 5e-3, 1e-2]}}
    study = end_study(tmp_path, tiny_dataset, space=space)
    assert (
        "None of warmup_epochs, lambda_id, lambda_ood is in the space." in check(study.path).words
    )


def test_a_range_that_grew_and_a_value_that_depends_on_another(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    space = {
        "distill.affinity": {"choice": ["ce", "kl"]},
        "distill.lambda_id": {"float": [0.01, 1.0], "when": {"distill.affinity": "kl"}},
    }
    study = end_study(tmp_path, tiny_dataset, space=space)
    check(study.path)
    wider = {**space, "distill.lambda_id": {"float": [0.01, 2.0]}}
    study.change(space=wider, budget={"trials": 6})
    grown = SearchStudy(load_study_file(study.path).search_spec(), study.url)
    while (ask := grown.ask()) is not None:
        for epoch in (1, 2):
            grown.record(ask.number, epoch, scored(30.0 + ask.number, 20.0))
        grown.complete(ask.number, scored(30.0 + ask.number, 20.0))
    check(study.path)
    assert "parallel" in drawn(study.path)


def test_a_dataset_that_is_gone(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = end_study(tmp_path, tiny_dataset)
    study.change(dataset=str(tmp_path / "moved"))
    page = check(study.path)
    assert "not a prepared dataset" in page.words
    assert tiny_dataset.fingerprint in page.words
