"""Further seeds where they decide: finalists are trained until their champions are sure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.ended_study import EndedStudy, FakeTrainer, end_study

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.validated import VALIDATED
from tune import Finalists, finalists
from tune.execution.jobs import InterruptedSearchError
from tune.results.rounds import FIRST
from tune.study.event_base import study_events
from tune.study.finalist_events import FinalistsBegun
from tune.study.folders import finalist_folder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SEEDS = 5
CLEAR = {
    0: [(40.0, 10.0)] * SEEDS,
    1: [(30.0, 30.0)] * SEEDS,
    2: [(10.0, 40.0)] * SEEDS,
}
"""Each is the best of a kind, on every seed."""
CLOSE = {
    **CLEAR,
    0: [(40.0, 10.0), (44.0, 10.0), (40.0, 10.0), (44.0, 10.0), (40.0, 10.0)],
    1: [(43.0, 30.0), (40.0, 30.0), (42.0, 30.0), (39.0, 30.0), (44.0, 30.0)],
}
"""Two of them change places in distribution from seed to seed."""


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, tiny_dataset)


def run(study: EndedStudy, fake: FakeTrainer, sure: float | None = 0.95) -> Finalists:
    return finalists(study.path, top=1, seeds=SEEDS, sure=sure, train=fake)


def counts(found: Finalists) -> dict[int, int]:
    return {one.trial: len(one.runs) for one in found.finalists}


def test_no_seed_is_spent_on_champions_that_are_sure(
    study: EndedStudy, tiny_dataset: Dataset
) -> None:
    fake = FakeTrainer(tiny_dataset, CLEAR)
    found = run(study, fake)
    assert counts(found) == dict.fromkeys(CLEAR, FIRST)
    assert all(one.probability[one.best] >= 0.95 for one in found.standings.values())
    assert found.seeds_text == "3 fresh seeds"
    assert counts(run(study, fake, sure=None)) == dict.fromkeys(CLEAR, SEEDS)
    assert max(Counter(fake.trained).values()) == 1


def test_those_in_doubt_have_further_seeds_up_to_the_budget(
    study: EndedStudy, tiny_dataset: Dataset
) -> None:
    found = run(study, FakeTrainer(tiny_dataset, CLOSE))
    assert counts(found) == {0: SEEDS, 1: SEEDS, 2: FIRST}
    assert found.standings["best-id"].probability[2] == 0.0
    assert found.seeds_text == "3 to 5 fresh seeds"
    assert [found.students(trial) for trial in CLOSE] == [SEEDS, SEEDS, FIRST]
    begun = study_events(study.attributes(), FinalistsBegun)
    places = {(n, k) for one in begun for n in one.trials for k in range(len(one.seeds))}
    assert places == {(n, k) for n, count in counts(found).items() for k in range(count)}


@pytest.mark.parametrize("students", [4, 10], ids=["first round", "a later round"])
def test_another_call_goes_on_to_the_same_end(
    study: EndedStudy, tiny_dataset: Dataset, students: int
) -> None:
    fake = FakeTrainer(tiny_dataset, CLOSE)

    def stopped(jobs: Any, place: Any, listener: Any) -> None:
        fake.stop_after = students - len(fake.trained)
        fake(jobs, place, listener)

    with pytest.raises(InterruptedSearchError):
        finalists(study.path, top=1, seeds=SEEDS, sure=0.95, train=stopped)
    assert len(fake.trained) == students
    fake.stop_after = None
    assert counts(run(study, fake)) == {0: SEEDS, 1: SEEDS, 2: FIRST}
    assert max(Counter(fake.trained).values()) == 1


def test_all_are_in_doubt_where_what_was_measured_of_pairs_is_damaged(
    study: EndedStudy, tiny_dataset: Dataset
) -> None:
    fake = FakeTrainer(tiny_dataset, CLEAR)
    found = run(study, fake)
    assert counts(found) == dict.fromkeys(CLEAR, FIRST)
    path = finalist_folder(study.file.folder, 1, 2) / VALIDATED
    path.write_bytes(path.read_bytes()[:-9])
    found = run(study, fake)
    assert counts(found) == dict.fromkeys(CLEAR, SEEDS)
    assert found.standings == {}


@pytest.mark.parametrize("sure", [0.2, 1.0])
def test_what_is_no_such_probability_is_refused(study: EndedStudy, sure: float) -> None:
    with pytest.raises(RefKDError, match="sure is"):
        finalists(study.path, sure=sure)
