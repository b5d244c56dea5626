"""Trials of one point with further seeds are one point, wherever trials are compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from rich.console import Console
from support.ended_study import SCORES, EndedStudy, end_study
from support.report_page import content_of
from support.search_methods import mixed

from refkd.data.dataset import Dataset
from refkd.seeds import generator
from tune import evaluate_final
from tune.audit.replay import replay
from tune.config.space import Values
from tune.display.plot import plot_front
from tune.display.study import show_best, show_status
from tune.execution.progress import Reporter
from tune.execution.study_jobs import open_ended_search
from tune.report.figure import capitalised
from tune.results.champions import search_students, select_search_champions
from tune.results.finalists import choose
from tune.results.side_by_side import side_by_side
from tune.study.ranking import best_first, current, front_of, pooled
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot
from tune.study.view import CONTINUES, TrialView

OBJECTIVES = ["val_id/miou", "val_ood/miou"]
few = st.integers(0, 3)
made = st.fixed_dictionaries(
    {
        "point": few,
        "repeats": few,
        "state": st.sampled_from(["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "FAIL"]),
        "scores": st.tuples(few, few),
        "missed": st.sampled_from([-1.0, 0.5]),
        "epochs": st.sampled_from([4, 9]),
        "continues": st.none() | few,
    }
)


def viewed(number: int, trial: Mapping[str, Any]) -> TrialView:
    scores = list(map(float, trial["scores"]))
    complete = trial["state"] == "COMPLETE"
    ended = {
        "final": dict(zip(OBJECTIVES, scores, strict=True)) | {"sd/val_id/miou": 1.0},
        "violations": {"bound": trial["missed"]},
        "students": ["a", "b"],
    }
    attributes = {
        "asked": {"repeats": trial["repeats"]},
        "epochs": trial["epochs"],
        "ended": ended if complete else {},
    }
    if trial["continues"] is not None:
        attributes[CONTINUES] = trial["continues"]
    return TrialView(
        number=number,
        state=trial["state"],
        values={"rate": 0.1 * (1 + trial["point"]) + 1e-15 * number},
        objectives=scores if complete else None,
        attributes=attributes,
    )


@given(st.lists(made, max_size=24))
def test_each_trial_that_counts_is_in_one_point_and_the_point_is_their_mean(
    trials: list[dict[str, Any]],
) -> None:
    views = [viewed(number, trial) for number, trial in enumerate(trials)]
    points = current(views)
    replaced = {v.attributes.get(CONTINUES) for v in views if v.state == "COMPLETE"}
    counting = [v.number for v in views if v.state == "COMPLETE" and v.number not in replaced]
    assert sorted(number for one in points for number in one.members) == counting
    for one in points:
        own = [views[number] for number in one.members]
        assert one.number == min(one.members)
        assert len({v.repeats for v in own}) == len(own), "disjoint seeds"
        assert len({(trials[n]["point"], trials[n]["epochs"]) for n in one.members}) == 1
        rows = [v.objectives or [] for v in own]
        assert one.objectives == [fmean(column) for column in zip(*rows, strict=True)]
        assert [one.kept[name] for name in OBJECTIVES] == one.objectives
        assert one.feasible == (fmean(trials[n]["missed"] for n in one.members) <= 0)
    times = Counter[tuple[int, int]]()
    for (point, epochs, _), count in Counter(
        (trials[n]["point"], trials[n]["epochs"], trials[n]["repeats"]) for n in counting
    ).items():
        times[point, epochs] = max(times[point, epochs], count)
    assert len(points) == times.total(), "no two could be one"
    everything = pooled(views)
    assert sorted(n for one in everything for n in one.members) == list(range(len(views)))
    assert [v for v in everything if v.number in {one.number for one in points}] == points


@given(st.lists(made, max_size=24))
def test_without_further_seeds_trials_are_what_is_stored(trials: list[dict[str, Any]]) -> None:
    views = [viewed(number, {**trial, "repeats": 0}) for number, trial in enumerate(trials)]
    assert pooled(views) == views
    assert not any(one.pooled for one in current(views))


# A search -------------------------------------------------------------------------------------

GRID = {"a": {"int": [0, 2]}, "b": {"int": [0, 2]}}
NOISE = 4.0


def truth(values: Values) -> list[float]:
    a, b = (float(values[key] or 0) for key in "ab")
    return [20 + 3 * a - b, 20 + 3 * b - a]


def measured(seed: int, values: Values, repeats: int) -> dict[str, float]:
    noise = generator(seed, json.dumps(values, sort_keys=True), repeats).normal(
        scale=NOISE, size=2
    )
    return dict(zip(OBJECTIVES, (np.array(truth(values)) + noise).tolist(), strict=True))


def searched(seed: int) -> SearchStudy:
    spec = mixed(
        space=GRID,
        objectives=OBJECTIVES,
        minimize=[],
        epochs=1,
        budget={"trials": 40},
        sampler={"name": "random", "repeat": "further_seeds"},
        pruning={"name": "none"},
        seed=seed,
    )
    study = SearchStudy(spec, InMemoryStorage())
    study.begin_launch()
    while (ask := study.ask()) is not None:
        metrics = measured(seed, ask.values, ask.repeats)
        study.record(ask.number, 1, metrics)
        study.end(ask.number, metrics)
    return study


def test_a_small_space_is_compared_point_by_point_by_means_over_all_seeds() -> None:
    flattered = []
    for seed in range(6):
        study = searched(seed)
        views, points = study.views(), current(study.views())
        assert len(views) == 40 == sum(len(one.members) for one in points)
        assert len(points) == len({json.dumps(v.values, sort_keys=True) for v in views})
        for one in points:
            scores = [
                measured(seed, one.values, k)[OBJECTIVES[0]] for k in range(len(one.members))
            ]
            assert one.kept[OBJECTIVES[0]] == pytest.approx(fmean(scores))
        numbers = {one.number for one in points}
        front = front_of(points)
        assert set(front) <= numbers
        assert {v.number for v in best_first(views)} == numbers
        assert [v.objectives for v in study.views()] == [list(t.values) for t in study.trials()]
        assert replay(study.optuna).differences == []
        best, raw = (max(held, key=lambda v: v.kept[OBJECTIVES[0]]) for held in (points, views))
        flattered.append([v.kept[OBJECTIVES[0]] - truth(v.values)[0] for v in (best, raw)])
    pooled_gain, raw_gain = np.mean(flattered, axis=0)
    assert pooled_gain < raw_gain - 2


# An ended study -------------------------------------------------------------------------------

SEEDS = 2


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    """Four trials of two points, each of two seeds, with its champions."""
    ended = end_study(
        tmp_path,
        tiny_dataset,
        space={"distill.lambda_id": {"choice": [0.1, 0.5]}},
        sampler={"name": "random", "repeat": "further_seeds"},
        replicates={"seeds": SEEDS},
        seed=3,
    )
    with open_ended_search(ended.path) as search:
        select_search_champions(search, Reporter())
    return ended


def test_champions_rest_on_all_seeds_of_their_point(study: EndedStudy) -> None:
    snapshot = open_snapshot(study.path)
    summary, points = snapshot.summary, current(snapshot.trials)
    assert [list(one.members) for one in points] == [list(one.pooled) for one in points] != []
    assert len(points) == 2
    with open_ended_search(study.path) as search:
        students = search_students(search)
    for place, (alias, metric) in enumerate(zip(("best-id", "best-ood"), OBJECTIVES, strict=True)):
        best = max(points, key=lambda v: v.kept[metric])
        own = [SCORES[number][place] for number in best.members]
        assert summary.champions[alias] == best.number
        assert summary.trial(best.number).metrics[metric] == pytest.approx(fmean(own))
        folders = [folder for n in best.members for folder in snapshot.student_folders(n)]
        assert [one.folder for one in students[alias]] == folders
        assert len({one.record.config.seed for one in students[alias]}) == len(folders)
        standing = summary.standings[alias]
        assert standing.seeds == SEEDS * len(best.members)
        assert set(standing.probability) == {one.number for one in points}
        assert summary.intervals[metric.split("/")[0]][alias]["miou"]["sd"] is not None
    assert set(summary.front) <= {one.number for one in points}
    chosen = choose(snapshot.trials, OBJECTIVES, top=9)
    assert [v.number for v in chosen] == [one.number for one in points]


def test_tables_and_pages_show_one_point_with_its_trials(study: EndedStudy) -> None:
    snapshot = open_snapshot(study.path)
    told = [one.seeds_text for one in snapshot.summary.pooled]
    assert told == [
        f"trials {one.numbers}: {SEEDS * len(one.members)} seeds"
        for one in current(snapshot.trials)
    ]
    for show in (show_status, show_best):
        with (console := Console(width=400)).capture() as shown:
            show(console, snapshot.summary)
        lines = shown.get().splitlines()
        assert all(any(line.startswith(words) for line in lines) for words in told)
    (front,) = (figure for figure in content_of(study.path).figures if figure.key == "front")
    assert [row[0] for row in front.tables[0].rows] == [
        one.numbers for one in current(snapshot.trials)
    ]
    assert all(capitalised(words) in front.text for words in told)
    assert len(front.panels[0].plot.data[0].x) == len(told)
    plot_front(snapshot.summary, study.path.with_suffix(".svg"))


def test_a_comparison_and_a_look_score_all_seeds(study: EndedStudy) -> None:
    members = {v.number: SEEDS * len(v.members) for v in current(open_snapshot(study.path).trials)}
    found = side_by_side([study.path, study.path])
    assert {(one.alias, one.seeds) for one in found.differences} == {
        (alias, (members[number],) * 2)
        for alias, number in open_snapshot(study.path).champions.items()
    }
    report = evaluate_final(study.path)
    assert report.seeds == {
        alias: members[number] for alias, number in open_snapshot(study.path).champions.items()
    }
