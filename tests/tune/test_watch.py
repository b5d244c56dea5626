"""Watching a search from beside: what is shown, when it ends, and that nothing is written."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.ended_study import end_study
from support.recorded_curves import TABLE, study_file
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.cli import app
from tune.display.status import SearchStatus, search_status
from tune.display.watch import draw, watch
from tune.study.lease import lease
from tune.study.search_study import SearchStudy
from tune.study.snapshot import StudyReader
from tune.study.storage import open_storage


@pytest.fixture
def study(tmp_path: Path) -> SearchStudy:
    file = study_file(name="seen", budget={"trials": 4}, pruning={"name": "none"})
    return SearchStudy(file.search_spec(), f"sqlite:///{tmp_path / 'study.db'}")


def step(study: SearchStudy, *, epochs: int | None = None) -> None:
    """Run one trial to its end, or so many epochs of one."""
    ask = study.ask()
    assert ask is not None
    curve = TABLE.nearest(ask.values)
    last = study.spec.epochs
    for epoch in range(1, (epochs or last) + 1):
        study.record(ask.number, epoch, curve.at(epoch))
    if epochs is None:
        study.complete(ask.number, curve.at(last))


def begun(study: SearchStudy) -> SearchStudy:
    study.begin_launch()
    study.bind("objectives", study.spec.objectives)
    study.note("epochs", study.spec.epochs)
    study.note("budget", study.spec.budget.model_dump(mode="json"))
    return study


def url(study: SearchStudy, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def reader(tmp_path: Path) -> StudyReader:
    return StudyReader(f"sqlite:///{tmp_path / 'study.db'}")


def seen_in(tmp_path: Path) -> SearchStatus:
    return search_status(reader(tmp_path).read())


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def screen(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=110, color_system=None)


@pytest.mark.parametrize("terminal", [True, False])
def test_it_follows_a_search_and_ends_with_it(
    study: SearchStudy, tmp_path: Path, terminal: bool
) -> None:
    """The search goes on between two looks, as if it ran elsewhere."""
    begun(study)
    console, seen = screen(terminal=terminal), list[str]()
    with ExitStack() as held:
        driver = held.enter_context(lease(url(study, tmp_path), "seen", signs=[1.0, 1.0]))

        def pass_time(seconds: float) -> None:
            seen.append(seen_in(tmp_path).phase)
            if study.left():
                step(study)
            else:
                held.close()

        status = watch(console, reader(tmp_path), every=0.5, sleep=pass_time)
        assert str(driver.process) in text(console) or not terminal
    assert seen == ["teachers", "searching", "searching", "searching", "finishing"]
    assert (status.phase, status.ended, status.wanted) == ("ended", 4, 4)
    said = text(console)
    assert "4 of 4 trials ended" in said or "4/4" in said
    best = max(v.kept["val_id/miou"] for v in study.views())
    assert f"val_id/miou {best:.2f}" in said
    if not terminal:
        assert len([line for line in said.splitlines() if line.startswith("study seen")]) == 6
        assert said.count("! curves draws at random until 4 trials have ended") == 1


def test_a_search_that_nobody_drives_is_called_stopped(study: SearchStudy, tmp_path: Path) -> None:
    begun(study)
    step(study)
    step(study, epochs=2)
    status = seen_in(tmp_path)
    assert (status.phase, status.driver, status.ended) == ("stopped", None, 1)
    (running,) = status.running
    assert (running.number, running.epoch, running.paused) == (1, 2, False)
    assert running.silent is not None
    assert set(running.metrics) >= {"val_id/miou", "val_ood/miou"}
    console = screen(terminal=True)
    console.print(draw(status))
    assert "nobody is at work and trials are left: run `refkd search`" in text(console)
    assert f"2/{study.spec.epochs}" in text(console)


def test_a_look_writes_nothing(study: SearchStudy, tmp_path: Path) -> None:
    begun(study)
    step(study)
    before = dump(study)
    console = screen(terminal=False)
    watch(console, reader(tmp_path), every=0.1)
    assert dump(study) == before


def dump(study: SearchStudy) -> Any:
    attributes = study.optuna.user_attrs
    return attributes, [(t.state, t.user_attrs) for t in study.optuna.get_trials()]


@pytest.fixture
def ended(tmp_path: Path, tiny_dataset: Dataset) -> Path:
    return end_study(tmp_path, tiny_dataset).path


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["watch", *map(str, words)])


def test_once_serves_scripts(ended: Path) -> None:
    found = json.loads(run(ended, "--once", "--json").stdout)
    assert (found["study"], found["ended"]) == ("ended", 4)
    assert "summary" not in found
    shown = run(ended, "--once")
    assert shown.exit_code == 0
    assert "study ended" in shown.output


def test_it_looks_while_a_driver_holds_the_lease(ended: Path) -> None:
    path = ended.parent / "runs" / "studies" / "ended" / "study.db"
    with lease(f"sqlite:///{path}", "ended", signs=[1.0, 1.0]):
        found = json.loads(run(ended, "--once", "--json").stdout)
        assert found["driver"].startswith("process ")
        assert open_storage(f"sqlite:///{path}").get_all_studies()


def test_mistakes_are_named(tmp_path: Path, ended: Path) -> None:
    done = run(ended, "--json")
    assert isinstance(done.exception, RefKDError)
    assert "say --once too" in str(done.exception)
    other = tmp_path / "other.yaml"
    other.write_text(f"name: other\nworkspace: {tmp_path / 'nowhere'}\n")
    done = run(other)
    assert isinstance(done.exception, RefKDError)
    assert "has not been begun" in str(done.exception)


def test_watching_loads_nothing_that_trains() -> None:
    code = "import sys, tune.display.watch; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"torch", "ray", "mlflow", "pandas"} == set()
