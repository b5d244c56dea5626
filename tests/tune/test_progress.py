"""How far a search has come: what its driver shows, and what is said once a limit has ended it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from support.recorded_curves import EPOCHS, TABLE, run, study_file

from tune.display.study import show_status
from tune.execution import progress as shown
from tune.execution.progress import LiveTable
from tune.study.budget import progress
from tune.study.request import TrialRequest
from tune.study.rungs import Rungs
from tune.study.search_study import SearchStudy
from tune.study.snapshot import StudyReader


@pytest.mark.parametrize("trials", [12, 40])
@pytest.mark.parametrize(
    "pruning",
    [
        {"name": "none"},
        {"type": "stop"},
        {"type": "promote"},
        {"type": "promote", "one_in": 2},
        {"type": "promote", "resource": "seconds", "first": 4.0},
    ],
    ids=str,
)
def test_what_a_search_will_train_is_known_from_its_settings(
    pruning: dict[str, Any], trials: int
) -> None:
    spec = study_file(pruning=pruning, budget={"trials": trials}).search_spec()
    done, whole = progress(spec, Rungs(spec), [], lambda: 0.0)
    result = run(pruning=pruning, budget={"trials": trials})
    assert done == 0
    if "resource" not in pruning:  # where rungs lie is not known before there are trials
        assert whole == pytest.approx(result.epochs, rel=0.3)
    done, whole = result.study.progress()
    assert done == result.epochs == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize("seeds", [1, 3])
def test_another_limit_may_come_first(seeds: int) -> None:
    replicates = {"seeds": seeds, "race": 1}
    budget = {"trials": 200, "trainings": 6}
    spec = study_file(budget=budget, replicates=replicates).search_spec()
    assert progress(spec, Rungs(spec), [], lambda: 0.0) == (0, 6 * EPOCHS)
    many = study_file(budget={"trials": 8}, pruning={"name": "none"}, replicates=replicates)
    spec = many.search_spec()
    assert progress(spec, Rungs(spec), [], lambda: 0.0) == (0, 8 * EPOCHS * seeds)


def test_a_driver_shows_epochs_and_the_time_that_those_left_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(shown.time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), force_terminal=True, width=110, color_system=None)
    table = LiveTable(console)
    table.search_begins(wanted=30, ended=4, epochs=EPOCHS)
    table.trial_started(TrialRequest(number=4, values={}, attempt=1))

    def drawn() -> str:
        with console.capture() as captured:
            console.print(table._draw())
        return " ".join(captured.get().split())

    assert "time left: unknown yet" in drawn()
    table.epochs(lambda: (41, 140.0))  # 40 of them in an earlier launch
    now += 50.0
    table.epochs(lambda: (50, 140.0))
    assert "50/140 4/30 trials, about 7 min 30 s left" in drawn()
    now += 0.5
    table.epochs(lambda: (51, 140.0))
    assert "50/140" in drawn(), "it is counted once a second"
    now += 0.5
    table.epochs(lambda: (140, 140.0))
    assert "about 0 min 00 s left" in drawn()


def test_a_search_that_a_limit_has_ended_is_said_to_have_ended(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    spec = study_file(
        name="seen", budget={"trials": 30, "trainings": 2}, pruning={"name": "none"}
    ).search_spec()
    study = SearchStudy(spec, url)
    study.begin_launch()
    study.bind("objectives", spec.objectives)
    study.note("epochs", spec.epochs)
    study.note("budget", spec.budget.model_dump(mode="json"))
    seen = StudyReader(url).read
    assert (seen().summary.wanted, seen().summary.stopped) == (30, None)
    while (ask := study.ask()) is not None:
        curve = TABLE.nearest(ask.values)
        for epoch in range(1, EPOCHS + 1):
            study.record(ask.number, epoch, curve.at(epoch))
        study.complete(ask.number, curve.at(EPOCHS))
    assert seen().trials_left == 0
    path = tmp_path / "study.yaml"
    changed = {"name": "seen", "storage": url, "budget": {"trials": 30, "trainings": 2}}
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    assert StudyReader(path).read().trials_left == 0, "by the file as well"
    told = "2 of 2 trials ended; budget.trainings is used up (2 of 2)"
    console = Console(file=io.StringIO(), width=110)
    show_status(console, seen().summary)
    assert isinstance(console.file, io.StringIO)
    assert told in console.file.getvalue()
