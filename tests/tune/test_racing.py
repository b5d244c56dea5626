"""Racing: its probabilities, decisions from the storage alone, and what a worker tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from optuna.storages import InMemoryStorage
from support.recorded_curves import EPOCHS, TABLE, run, study_file

from refkd.data.dataset import Dataset
from refkd.seeds import generator
from tune.audit.replay import replay
from tune.config.settings import Pruning
from tune.execution import worker
from tune.execution.jobs import JobEnd, TrainingJob
from tune.execution.searcher import JobSearcher
from tune.execution.study_jobs import StudyJobs
from tune.simulation.made_up import PAIRS, pairs_around
from tune.study.racing import RESAMPLES, chance, pack, resampled, unpack
from tune.study.request import TrialRequest
from tune.study.search_study import SearchStudy
from tune.study.trial_events import RungJudged, VideosScored
from tune.study.view import RUNG, SCORED, key_of

ID, OOD, BOTH = "val_id/miou", "val_ood/miou", "val/harmonic_miou"
RACING = {"pruning": {"name": "paired_racing"}}
Rows = Mapping[int, Mapping[str, NDArray[np.float64]]]
"""Scores of pairs, each of a video of its own, by trial and metric."""


def packed(scores: NDArray[np.float64]) -> str:
    return pack(scores, [f"{place:04d}" for place in range(len(scores))])


def drawn(trials: Rows, signs: Mapping[str, float] | None = None, *, rung: int = 0) -> Any:
    signs = signs or dict.fromkeys(next(iter(trials.values())), 1.0)
    points = {n: [math.nan] * len(signs) for n in trials}
    scored = {n: {name: packed(row) for name, row in t.items()} for n, t in trials.items()}
    return resampled(points, scored, signs, seed=7, rung=rung)


def made(seed: int, trials: int, names: tuple[str, ...], pairs: int = 30) -> Rows:
    """Trials of which no two score alike on any pair."""
    draw = generator("trials", seed)
    return {
        number: {name: draw.uniform(0, 0.9, pairs) + 0.02 * draw.normal() for name in names}
        for number in range(trials)
    }


trials_of = {"seed": st.integers(0, 1000), "trials": st.integers(1, 12)}
objectives = pytest.mark.parametrize("names", [(ID,), (ID, OOD)], ids=len)


# The maths ------------------------------------------------------------------------------------


@given(
    scores=st.lists(st.tuples(st.sampled_from("abcde"), st.floats(0, 1)), min_size=1),
    order=st.randoms(use_true_random=False),
)
def test_what_is_stored_has_the_mean_of_the_pairs_in_whatever_order(
    scores: list[tuple[str, float]], order: Any
) -> None:
    videos, values = zip(*scores, strict=True)
    means, pairs = unpack(pack(np.array(values), videos))
    assert sorted(pairs) == sorted(videos.count(name) for name in set(videos))
    assert means @ pairs / pairs.sum() == pytest.approx(np.mean(values), abs=3e-4)
    shuffled = order.sample(scores, len(scores))
    again = unpack(pack(np.array([v for _, v in shuffled]), [name for name, _ in shuffled]))
    assert np.allclose(again[0], means, atol=1e-3)


@pytest.mark.parametrize(("pairs", "characters"), [(107, 572), (1000, 5336)])
def test_a_score_takes_few_characters(pairs: int, characters: int) -> None:
    assert len(packed(np.linspace(0, 1, pairs))) == characters


@objectives
@given(best=st.integers(1, 12), **trials_of)
def test_as_many_pass_as_there_are_places(
    names: tuple[str, ...], seed: int, trials: int, best: int
) -> None:
    found = drawn(made(seed, trials, names))
    total = sum(chance(found, row, best) for row in range(trials))
    places = min(best, trials)
    if len(names) == 1:
        assert total == pytest.approx(places)
    else:  # the ends of a front are equals
        assert places - 1e-9 <= total <= min(trials, places + 1)


@objectives
@given(best=st.integers(1, 12), order=st.permutations(range(12)), **trials_of)
def test_the_order_of_the_trials_says_nothing(
    names: tuple[str, ...], seed: int, trials: int, best: int, order: list[int]
) -> None:
    rows = made(seed, trials, names)
    other = {order[number]: row for number, row in rows.items()}
    places = sorted(other)
    before, after = drawn(rows), drawn(other)
    for number in rows:
        assert chance(before, number, best) == chance(after, places.index(order[number]), best)


@objectives
@given(best=st.integers(1, 12), **trials_of)
def test_who_equals_the_best_passes_and_who_is_worse_on_every_pair_never_before_it(
    names: tuple[str, ...], seed: int, trials: int, best: int
) -> None:
    rows = dict(made(seed, trials, names))
    top = {name: np.max([row[name] for row in rows.values()], axis=0) + 0.05 for name in names}
    rows |= {
        trials: top,
        trials + 1: top,
        trials + 2: {name: row - 2.0 for name, row in top.items()},
    }
    found = drawn(rows)
    assert chance(found, trials, best) == chance(found, trials + 1, best) == 1.0
    assert chance(found, trials + 2, best) == (best > trials + 2)


def test_the_probability_is_that_of_a_normal_mean() -> None:
    """Of two trials the better one's share is that of their difference's mean above 0."""
    draw = generator("pair")
    a = draw.uniform(0.2, 0.8, 400)
    noise = draw.normal(0, 0.1, 400)
    b = a + noise - noise.mean() - 0.1 / 400**0.5  # one standard error below
    found = [chance(drawn({0: {ID: a}, 1: {ID: b}}, rung=r), 1, 1) for r in range(20)]
    assert np.mean(found) == pytest.approx(0.159, abs=0.02)


def test_pairs_of_a_video_are_drawn_together() -> None:
    """Ten pairs that agree within a video say as much as one."""
    draw = generator("videos")
    few, ones = draw.uniform(size=(2, 12)), [f"{n:02d}" for n in range(12)]
    scored = {n: {ID: pack(np.repeat(few[n], 10), np.repeat(ones, 10).tolist())} for n in (0, 1)}
    alone = {n: {ID: pack(few[n], ones)} for n in (0, 1)}
    points = {0: [0.0], 1: [0.0]}
    found, other = (resampled(points, held, {ID: 1.0}, seed=0, rung=0) for held in (scored, alone))
    assert np.allclose(found, other)


def test_a_cost_is_what_it_is_and_less_of_it_is_better() -> None:
    rows = {n: {ID: packed(np.array([0.5, 0.7]))} for n in (0, 1)}
    signs = {ID: 1.0, "model/parameters": -1.0}
    points = {0: [60.0, -2e6], 1: [60.0, -1e6]}
    found = resampled(points, rows, signs, seed=0, rung=0)
    assert (found[:, :, 1] == [-2e6, -1e6]).all()
    assert (chance(found, 0, 1), chance(found, 1, 1)) == (0.0, 1.0)
    assert np.array_equal(drawn(made(0, 2, (ID,)), {ID: -1.0}), -drawn(made(0, 2, (ID,))))


def test_the_harmonic_mean_is_that_of_both_roles_in_each_resample() -> None:
    rows = made(0, 3, (ID, OOD))
    halves = drawn(rows)
    both = drawn(rows, {BOTH: 1.0})
    assert both.shape == (RESAMPLES, 3, 1)
    a, b = halves[:, :, 0], halves[:, :, 1]
    assert np.allclose(both[:, :, 0], 2 * a * b / (a + b))
    assert (a != a[0]).any()


# The engine -----------------------------------------------------------------------------------


def test_a_study_holds_scores_at_rungs_alone_and_what_they_made_of_each_trial() -> None:
    result = run(**RACING)
    views = result.study.views()
    rungs, probabilities = {2, 6}, []
    for view in views:
        assert set(view.scored) == set(view.decisions) == rungs & set(view.curve)
        for decision in view.decisions.values():
            assert (decision["action"] == "stop") == (decision["probability"] < 0.1)
            probabilities.append(decision["probability"])
    assert {v.state for v in views} == {"COMPLETE", "PRUNED"}
    assert sum(p not in (0.0, 1.0) for p in probabilities) > 0
    assert replay(result.study.optuna).differences == []


def test_a_stated_probability_is_the_bound() -> None:
    few, many = (run(pruning={**RACING["pruning"], "probability": share}) for share in (0.02, 0.6))
    assert few.epochs > many.epochs
    stopped = [d for v in many.study.views() for d in v.decisions.values()]
    assert all((d["action"] == "stop") == (d["probability"] < 0.6) for d in stopped)


class Dies(InMemoryStorage):
    """Kills the driver after each write that makes a decision, once for each trial and epoch."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind, self._killed = kind, set[tuple[int, str]]()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, value)
        if key.startswith(self._kind) and (trial_id, key) not in self._killed:
            self._killed.add((trial_id, key))
            raise KeyboardInterrupt


def raced(storage: InMemoryStorage) -> SearchStudy:
    """Search by one worker, which reports all epochs again after a kill."""
    spec = study_file(**RACING, budget={"trials": 12}, workers=1).search_spec()
    while True:
        try:
            study = SearchStudy(spec, storage)
            study.begin_launch()
            while (ask := study.ask()) is not None:
                curve, action = TABLE.nearest(ask.values), "go"
                for epoch in range(1, EPOCHS + 1):
                    pairs = {name: pairs_around(curve.at(epoch)[name]) for name in (ID, OOD)}
                    action = study.record(ask.number, epoch, curve.at(epoch), pairs)
                    if action != "go":
                        break
                study.end(ask.number, curve.at(EPOCHS))
            return study
        except KeyboardInterrupt:
            continue


@pytest.mark.parametrize("kind", ["epoch:0002", SCORED, RUNG])
def test_kills_between_the_writes_of_a_rung_change_nothing(kind: str) -> None:
    calm, killed = raced(InMemoryStorage()), raced(Dies(kind))
    assert len(killed.launches.all()) > len(killed.views())

    def told(study: SearchStudy) -> list[Any]:
        judged = [v.decisions.items() for v in study.views()]
        return [[(e, d["action"], d["probability"]) for e, d in items] for items in judged]

    assert told(killed) == told(calm)
    assert [v.scored for v in killed.views()] == [v.scored for v in calm.views()]
    assert replay(killed.optuna).differences == []


def test_a_score_that_was_changed_is_found() -> None:
    study = run(**RACING).study
    trial = study.optuna.get_trials(deepcopy=False)[3]
    trial.user_attrs[key_of(SCORED, 2)][ID] = pairs_around(1.0)
    (found,) = map(str, replay(study.optuna).differences)
    assert "trial 3: scored:0002" in found


def test_a_trial_without_scores_is_neither_judged_nor_compared_with() -> None:
    study = SearchStudy(study_file(**RACING).search_spec(), InMemoryStorage())
    study.begin_launch()
    good, silent, bad = (study.ask() for _ in range(3))
    assert None not in (good, silent, bad)
    for ask, value, pairs in ((good, 30.0, True), (silent, 90.0, False), (bad, 5.0, True)):
        metrics = {ID: value, OOD: value}
        scored = {name: pairs_around(value) for name in metrics} if pairs else None
        for epoch in (1, 2):
            action = study.record(ask.number, epoch, metrics, scored)
        assert action == ("stop" if ask is bad else "go")
    assert study.views()[silent.number].decisions == {}
    assert study.views()[bad.number].decisions[2]["among"] == 2
    study.prune(bad.number)
    assert replay(study.optuna).differences == []


def test_a_study_goes_on_racing_that_began_otherwise() -> None:
    before = run(budget={"trials": 10}, pruning={"type": "stop"})
    spec = study_file(**RACING, budget={"trials": 20}).search_spec()
    study = SearchStudy(spec, before.study.optuna._storage)
    study.begin_launch()
    ask = study.ask()
    assert ask is not None
    pairs = {name: pairs_around(1.0) for name in (ID, OOD)}
    for epoch in (1, 2):
        action = study.record(ask.number, epoch, {ID: 1.0, OOD: 1.0}, pairs)
    assert action == "go"
    assert study.views()[ask.number].decisions[2]["among"] == 1
    assert replay(study.optuna).differences == []


def test_made_up_pairs_lie_around_their_mean() -> None:
    means, pairs = unpack(pairs_around(40.0))
    assert len(means) == pairs.sum() == PAIRS
    assert means.mean() == pytest.approx(40.0, abs=0.01)
    assert 15 < means.std() < 25
    assert np.array_equal(unpack(pairs_around(-40.0))[0], -means)


# What a worker tells --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objectives", "roles"),
    [
        ([ID, OOD], ["val_id", "val_ood"]),
        ([OOD, "model/parameters"], ["val_ood"]),
        ([BOTH], ["val_id", "val_ood"]),
    ],
    ids=str,
)
def test_a_job_tells_the_pairs_of_the_roles_that_are_raced_by(
    objectives: list[str], roles: list[str], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    minimize = [name for name in objectives if name.startswith("model")]
    common = {"objectives": objectives, "minimize": minimize, "workspace": str(tmp_path)}
    ask = TrialRequest(number=0, values={}, attempt=1)
    for pruning, wanted in ((RACING["pruning"], roles), ({"name": "none"}, [])):
        file = study_file(**common, pruning=pruning)
        assert list(StudyJobs(file, tiny_dataset).trial(ask).scored) == wanted


def test_a_worker_reports_the_mean_of_its_seeds_by_video(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    count = len(tiny_dataset.role("val_id"))
    rows = [generator("seed", n).uniform(size=count).astype(np.float16) for n in range(2)]
    job = TrainingJob(key="0", folder=tmp_path, networks=[], scored=["val_id"])
    place: Any = None
    training = worker._Training(job, place, tiny_dataset)
    training._trainers = [
        SimpleNamespace(history=[SimpleNamespace(tiou={"val_id": row})])  # type: ignore[misc]
        for row in rows
    ]
    told = training._scored(1)
    assert list(told) == [f"{worker.SCORED}{ID}"]
    means, pairs = unpack(told[f"{worker.SCORED}{ID}"])
    videos = list(tiny_dataset.role("val_id").video_ids)
    assert pairs.tolist() == [videos.count(name) for name in sorted(set(videos))]
    assert means @ pairs / count == pytest.approx(np.mean(rows, dtype=float), abs=1e-3)
    training._trainers[0].history[0].tiou.clear()  # an earlier refkd trained the epoch
    assert training._scored(1) == {}


def test_what_a_worker_reports_reaches_the_source() -> None:
    seen: list[Any] = []
    source: Any = SimpleNamespace(
        next_job=lambda: TrainingJob(key="3", folder=Path("3"), networks=[]),
        epoch_ended=lambda job, *rest: bool(seen.append((job.key, *rest))),
        job_ended=lambda job, end: seen.append((job.key, end)),
    )
    searcher = JobSearcher(source, retries=0)
    searcher.suggest("ray")
    report = {"epoch": 2, ID: 30.0, f"{worker.SCORED}{ID}": "AAAA", "time_total_s": 4}
    assert not searcher.report("ray", report)
    searcher.on_trial_complete("ray")
    assert seen == [("3", 2, {ID: 30.0}, {ID: "AAAA"}), ("3", JobEnd())]


def test_events_of_a_rung_are_stored_as_they_are_read() -> None:
    for event in (
        VideosScored(epoch=2, scored={ID: pairs_around(3.0)}),
        RungJudged(epoch=2, action="stop", probability=0.05, among=4),
    ):
        assert type(event).read(event.key, event.content()) == event


def test_the_least_probability_has_a_default_and_goes_with_racing() -> None:
    assert Pruning(name="paired_racing").least == 0.1
    for name in ("pareto_halving", "none", "median"):
        with pytest.raises(ValueError, match=f"goes with name: paired_racing, not {name}"):
            Pruning.model_validate({"name": name, "probability": 0.2})
    held = Pruning().model_dump()
    del held["probability"]  # as of an earlier version
    assert Pruning.model_validate(held) == Pruning.model_validate(Pruning().model_dump())
