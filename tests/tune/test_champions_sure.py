"""How sure the champions of a search are, as the study keeps and shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from support.ended_study import SCORES, EndedStudy, end_study

from refkd.data.dataset import Dataset
from refkd.training.validated import VALIDATED
from tune.display.study import show_best
from tune.execution.progress import Reporter
from tune.execution.study_jobs import open_ended_search
from tune.report.headline import headline
from tune.results.champions import select_search_champions
from tune.study.folders import trial_folder
from tune.study.snapshot import open_snapshot


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, tiny_dataset)


def choose(study: EndedStudy) -> None:
    with open_ended_search(study.path) as search:
        select_search_champions(search, Reporter())


def test_each_says_it_among_all_complete_trials(study: EndedStudy) -> None:
    choose(study)
    snapshot = open_snapshot(study.path)
    found = snapshot.summary.standings
    assert {alias: one.best for alias, one in found.items()} == snapshot.champions
    assert all(one.probability.keys() == SCORES.keys() for one in found.values())
    told = "est-ood: trial 2 is the best of 4 with probability 1.00"
    with (console := Console(width=400)).capture() as shown:
        show_best(console, snapshot.summary)
    assert told in shown.get()
    assert any(
        told in sentence.replace("Best-ood", "best-ood")
        for sentence in headline(snapshot).sentences
    )


def test_a_trial_of_an_earlier_version_leaves_it_unsaid(study: EndedStudy) -> None:
    (trial_folder(study.file.folder, 3) / VALIDATED).unlink()
    choose(study)
    assert open_snapshot(study.path).summary.standings == {}
